"""The front matter of the dataset card, which Hugging Face reads: what `datasets.load_dataset` finds, and how."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa

from malmungchi.schemas.names import FOLDERS
from malmungchi.schemas.release import LEDGER, REJECTS, Manifest
from malmungchi.transforms.text.steps import published

# The name of a folder's configuration: that of data/ is the one that is loaded without a name.
_CONFIGS = {"data": "default", "rejects": "rejects", "duplicates": "duplicates"}


def schemas() -> dict[str, pa.Schema]:
    """The columns of each folder of a release."""
    return {"data": published(), "rejects": REJECTS, "duplicates": LEDGER}


def folders(manifest: Manifest) -> list[str]:
    """The folders of a release that have files; data/ also without: readers would take another for the documents."""
    listed = {file.path.partition("/")[0] for file in manifest.files}
    return [folder for folder in FOLDERS if folder == "data" or folder in listed]


def title(manifest: Manifest, otherwise: str) -> str:
    """Name and version of a release."""
    said = manifest.release
    return " ".join(filter(None, (said.get("name") or otherwise, said.get("version"))))


def _size_category(rows: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
              (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B")]  # fmt: skip
    return next((name for bound, name in bounds if rows < bound), "n>1B")


def _dtype(kind: pa.DataType) -> str:
    """The name that `datasets` has for an Arrow type; for most it is Arrow's own."""
    return {"double": "float64", "float": "float32"}.get(str(kind), str(kind))


def _info(manifest: Manifest, folder: str) -> Iterator[str]:
    files = [file for file in manifest.files if file.path.startswith(f"{folder}/")]
    size = sum(file.bytes for file in files)
    yield f"- config_name: {_CONFIGS[folder]}"
    yield "  features:"
    for field in schemas()[folder]:
        yield f"  - name: {field.name}"
        yield f"    dtype: {_dtype(field.type)}"
    yield "  splits:"
    yield "  - name: train"
    yield f"    num_bytes: {sum(file.text_bytes for file in files) or size}"
    yield f"    num_examples: {sum(file.rows for file in files)}"
    yield f"  download_size: {size}"
    yield f"  dataset_size: {sum(file.text_bytes for file in files) or size}"


def front_matter(manifest: Manifest) -> list[str]:
    """Its lines, with the marks around it."""
    there = folders(manifest)
    lines = [
        "---",
        *(["language:", "- ko"] if manifest.config["language"]["drop"] else []),
        "license: other",  # it differs by document
        f"pretty_name: {json.dumps(title(manifest, 'Malmungchi release'), ensure_ascii=False)}",
        "task_categories:",
        "- text-generation",
        "tags:",
        "- malmungchi",
        "- pretraining",
        "size_categories:",
        f"- {_size_category(manifest.counts['kept'])}",
        "configs:",
    ]
    for folder in there:
        lines += [
            f"- config_name: {_CONFIGS[folder]}",
            "  data_files:",
            "  - split: train",
            f"    path: {folder}/*.parquet",
        ]
    lines.append("dataset_info:")
    for folder in there:
        lines += _info(manifest, folder)
    return [*lines, "---"]
