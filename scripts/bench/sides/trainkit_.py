"""The real command with everything that it does: records, TensorBoard, checkpoints. Only the clock is added."""

import json
import sys
import tempfile
from pathlib import Path

from common import VAL, arguments, timed

options = arguments()
model = {"cnn": "model={name: cnn, channels: [32, 64], hidden: [128]}", "mlp": "model={name: mlp, hidden: [128]}"}
with tempfile.TemporaryDirectory() as place:
    config = Path(place, "bench.yaml")
    config.write_text(
        f"data: {{name: mnist, root: {options.root}, val: {VAL}}}\nmodel: mlp\noptimizer: {{name: adam, lr: 1e-3}}\n"
    )
    sys.argv = [
        "trainkit", "train", str(config), model[options.model], f"train.epochs={options.epochs}",
        f"seed={options.seed}", f"train.precision={options.precision}", "--run-dir", f"{place}/run",
    ]  # fmt: skip
    from trainkit.cli.main import main
    from trainkit.runs import run

    fit, final_metrics = run.fit, run._final_metrics

    def timed_fit(*positional, **keywords):
        with timed("fit"):
            fit(*positional, **keywords)

    def timed_test(*positional, **keywords):
        with timed("test"):
            return final_metrics(*positional, **keywords)

    run.fit, run._final_metrics = timed_fit, timed_test
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    from common import report

    report(json.loads(Path(place, "run/run.json").read_text())["metrics"]["test/accuracy"])
