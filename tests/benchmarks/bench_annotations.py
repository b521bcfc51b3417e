"""What opening a COCO-train-sized annotation file takes: 500 MB, 118,000 images, 860,000 annotations, one emoji.

The emoji is in one image's name: Python would hold the whole text at four bytes per character for it. The reader runs
in a process of its own up to its first record, by when the file is indexed; `json.load` is measured beside it on a
tenth of the file.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmark_record import CannotRunHere, Record

NUM_IMAGES = 118_287
NUM_ANNOTATIONS = 860_001
GOAL = 2.0  # GiB
_FREE_BYTES = 4 << 30

# getrusage's peak survives exec: it would be that of the process that starts this one, if larger.
_PEAK = """
def peak():
    return next(int(line.split()[1]) / 2**20 for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""
_OPEN = """
import sys, time
from pathlib import Path
from tasks.readers.coco import CocoReader
from tasks.readers.progress import listening
path, told = Path(sys.argv[1]), []
start = time.perf_counter()
with listening(lambda name, done, total: told.append(done / total)):
    image = next(CocoReader(root=path.parent, options={"annotations": path.name, "images": "."}).read())
assert len(image.regions) == 8, image
print(time.perf_counter() - start, peak(), len(told), max(told))
"""
_LOAD = """
import json, sys, time
start = time.perf_counter()
value = json.load(open(sys.argv[1], encoding="utf-8"))
print(time.perf_counter() - start, peak())
"""


def bench_annotation_memory() -> Record:
    """Peak memory of a process that opens the file with the COCO reader, GiB."""
    with Path("/proc/meminfo").open() as file:
        free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    if free < _FREE_BYTES:
        raise CannotRunHere(f"it needs {_FREE_BYTES >> 30} GiB of free memory, of which there are {free >> 30}")
    with tempfile.TemporaryDirectory() as folder:
        whole, tenth = Path(folder, "instances_train2017.json"), Path(folder, "tenth.json")
        write_coco(whole, NUM_IMAGES, NUM_ANNOTATIONS)
        write_coco(tenth, NUM_IMAGES // 10, NUM_ANNOTATIONS // 10)
        seconds, peak, num_told, last = _measure(_OPEN, whole)
        load_seconds, load_peak = _measure(_LOAD, tenth)
        size = whole.stat().st_size
    if not (num_told > 100 and last > 0.9):
        raise AssertionError("the reader must tell how far it is")
    return Record(
        name="annotation_memory",
        value=peak,
        unit="GiB",
        against=(
            f"{size / 1e6:.0f} MB opened in {seconds:.1f} s, progress told {num_told:.0f} times; json.load of a tenth: "
            f"{load_peak:.2f} GiB in {load_seconds:.1f} s"
        ),
        goal=f"<= {GOAL:g}",
        holds=peak <= GOAL,
    )


def write_coco(path: Path, num_images: int, num_annotations: int) -> None:
    """A COCO instances file of the released one's shape: long polygons, several annotations per image."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {}, "licenses": [{"id": 1, "name": "BY"}], "images": [')
        file.writelines(_images(num_images))
        file.write('], "annotations": [')
        file.writelines(_annotations(num_annotations, num_images))
        file.write('], "categories": [{"id": 1, "name": "person", "supercategory": "person"}]}')


def _images(count: int) -> Iterator[str]:
    for number in range(count):
        name = f"{number:012d}.jpg" if number != 7 else "snowman \N{SNOWMAN} \N{GRINNING FACE}.jpg"
        entry = {"license": 1, "file_name": name, "height": 480, "width": 640, "id": number, "date_captured": "2013"}
        yield (", " if number else "") + json.dumps(entry, ensure_ascii=False)


def _annotations(count: int, num_images: int) -> Iterator[str]:
    polygon = ", ".join(str(round(100 + 7.31 * (index % 53), 2)) for index in range(52))
    shape = f'{{"segmentation": [[{polygon}]], "area": 702.1057, "iscrowd": 0, "bbox": [473.07, 395.93, 38.65, 28.67], '
    for number in range(count):
        comma = ", " if number else ""
        yield f'{comma}{shape}"category_id": 1, "image_id": {number % num_images}, "id": {number}}}'


def _measure(code: str, path: Path) -> tuple[float, ...]:
    time.sleep(0.1)
    done = subprocess.run([sys.executable, "-c", _PEAK + code, str(path)], check=True, capture_output=True, text=True)
    return tuple(float(value) for value in done.stdout.split())
