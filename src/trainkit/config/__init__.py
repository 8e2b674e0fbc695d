"""From a YAML file to a valid config: strict YAML with positions, merging, registry, validation."""
