"""What is told after: runs side by side, and a page of one."""
