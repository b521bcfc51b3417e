"""SIGKILL right before and right after file operations of a build, then a rerun: every byte as if undisturbed.

``IEIW_KILL_STRIDE=1 pytest tests/integration/test_kill.py`` tries every operation: 33 to 94 minutes on two cores
have been measured, so raise --timeout.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parents[1] / "kill_driver.py"
PROFILE = """
name = "kill"
images_per_shard = 8
[[source]]
dataset = "synthetic"
reader = "synthetic"
options = { count = 2, seed = 3, size = 64 }
[split]
val = 0.0
test = 0.0
[replace_object]
enabled = true
[gallery]
min_side = 8
[backends]
inpainter = "opencv"
embedder = "histogram"
captioner = "labels"
instructor = "grammar"
replacer = "gradient-paste"
index = "faiss-auto"
aesthetic_scorer = "image-statistics"
quality_scorer = "knn-giqa"
pair_similarity = "histogram"
"""


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "first", "stride"), [(1, 0, 37), (4, 2, 53)])
def test_any_kill_same_bytes(tmp_path, workers, first, stride):
    profile = tmp_path / "profile.toml"
    profile.write_text(PROFILE)
    stride = int(os.environ.get("IEIW_KILL_STRIDE", stride))
    arguments = [str(tmp_path), str(profile), str(workers), str(first if stride > 1 else 0), str(stride)]
    done = subprocess.run([sys.executable, str(DRIVER), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["wrong"] == []
    assert result["killed"] >= 0.9 * 2 * len(range(first, result["operations"], stride))
