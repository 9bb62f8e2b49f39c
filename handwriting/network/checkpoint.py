"""Weights on disk: safetensors files, config.json beside them, and which weights to draw from.

A run's folder holds config.json, model.safetensors (the best weights by validation) and
checkpoint-STEP.safetensors: all that a resumed run needs, the weights as `model.*`, the optimizer's
state as `optimizer.*`, and in the metadata, as JSON, how far the run is. Each file is written whole
or not at all. safetensors files run no code, and NumPy or PyTorch read them without TensorFlow.
"""

import json
import re
from pathlib import Path

from handwriting.files import UserError, atomic_write

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

SAVE = Path(__file__).resolve().parents[2] / "save"
PRETRAINED, TEXT = SAVE / "pretrained", SAVE / "text"  # what is drawn with by itself
SHIPPED = (PRETRAINED, TEXT, SAVE / "iam", SAVE / "iam_text")  # the weights that we ship
BEST = "model.safetensors"
# What config.json tells of a network; --init takes it over.
NETWORK = {
    "model": str, "rnn_size": int, "num_layers": int, "num_mixture": int, "peephole": bool,
    "layer_norm": bool, "skip": bool, "polar": bool, "hands": bool, "alphabet": str,
    "data_scale": float,
}
# And of its training, as far as a network needs that.
TRAINING = {"keep_prob": float, "precision": str, "seed": int, "sigma_x": float, "sigma_y": float}


def write_tensors(path, tensors, record):
    """Write a safetensors file: tensors, name -> array, and `record`, to be written as JSON."""
    arrays = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    with atomic_write(path) as file:
        file.write(save(arrays, {"record": json.dumps(record)}))


def read_tensors(path):
    """The tensors, name -> array, and the record of such a file. Raises UserError."""
    try:
        with safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads((file.metadata() or {}).get("record", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it, or train again") from None


def assign(variables, tensors, prefix, path):
    """Give the variables, name -> variable, the tensors of those names behind the prefix.

    Raises UserError, and assigns nothing, if names, shapes or types differ, or if a number is not
    finite.
    """
    found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    expected = {k: (tuple(v.shape), str(np.dtype(v.dtype))) for k, v in variables.items()}
    if {k: (v.shape, str(v.dtype)) for k, v in found.items()} != expected:
        raise UserError(f"{path} does not fit the network in config.json beside it; restore both")
    if not all(np.isfinite(value).all() for value in found.values()):
        raise UserError(f"{path} holds a number that is not finite; restore it, or train again")
    for name, value in found.items():
        variables[name].assign(value)


def checkpoints(folder):
    """The paths of all checkpoint-STEP.safetensors in a folder, the newest first."""
    folder = Path(folder)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = [re.fullmatch(r"checkpoint-(\d+)\.safetensors", name) for name in names]
    steps = sorted((int(match[1]) for match in found if match), reverse=True)
    return [folder / f"checkpoint-{step}.safetensors" for step in steps]


def run_files(folder):
    """The files that tell of a run in a folder, or belong to it."""
    named = [Path(folder) / name for name in ("config.json", BEST, "loss.csv", "loss.png")]
    return [path for path in [*named, *checkpoints(folder)] if path.exists()]


def check_folder(folder, resume, overwrite):
    """Raise UserError if `folder` holds our weights, or a run that no flag says what to do with."""
    folder = Path(folder)
    if folder.resolve() in SHIPPED:
        raise UserError(f"--model_dir {folder} holds the weights that come with the program")
    if run_files(folder) and not (resume or overwrite):
        raise UserError(
            f"--model_dir {folder} holds a run already; go on with it by --resume, name another "
            "folder, or give --overwrite"
        )


# ------------------------------------------------------------------------- weights to draw from


def read_config(folder):
    """The flags of the run in `folder`, a dict, and sigma_x and sigma_y of its training data.

    Raises UserError if config.json is missing or damaged, or tells too little of the network.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror}); name the folder of a run of train.py"
        raise UserError(reason) from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is no JSON; restore it, or train again") from None
    # At first networks had no alphabet, then no hands.
    config = {"alphabet": "", "hands": False} | config if isinstance(config, dict) else {}
    kinds = NETWORK | TRAINING
    if wrong := [name for name, kind in kinds.items() if type(config.get(name)) is not kind]:
        raise UserError(f"{path} lacks a right value of {', '.join(wrong)}; restore it")
    return config


def find_run(model_dir, text=False):
    """The folder of a run to load: model_dir, or our weights where the default `save` has no run;
    text: where it has none that writes a given text.
    """
    folder = Path(model_dir)
    if model_dir == "save":
        if not (folder / "config.json").exists():
            return TEXT if text else PRETRAINED
        if text and not read_config(folder)["alphabet"]:
            return TEXT
    return folder


def load_weights(model, folder, without=(), grown=()):
    """Give the model the best weights in `folder`, else the newest; returns the path of the file.

    without: names of weights that the file lacks, and that stay as they are; grown: of those that
    may have more rows than in the file, behind its own, which stay as they are. Raises UserError if
    there are none, or if they are damaged or do not fit the model.
    """
    folder = Path(folder)
    path = next((p for p in [folder / BEST, *checkpoints(folder)] if p.exists()), None)
    if path is None:
        raise UserError(f"{folder} holds no weights yet; train.py writes them after every epoch")
    tensors, _ = read_tensors(path)
    variables = {name: v for name, v in model.variables.items() if name not in without}
    prefix = "" if path.name == BEST else "model."
    for name in grown:
        if (value := tensors.get(prefix + name)) is not None:
            more = variables[name].numpy()[len(value) :]
            tensors[prefix + name] = np.concatenate([value, more]) if len(more) else value
    assign(variables, tensors, prefix, path)
    return path
