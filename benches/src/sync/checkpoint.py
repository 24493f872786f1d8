"""Writes two checkpoints, one step of training apart.

usage: checkpoint.py BEFORE AFTER PARAMETERS whole|frozen

A transformer that predicts random text, with AdamW; a checkpoint is what people save: the model's
state, the optimiser's, and the step. `frozen` trains the last eighth of the layers alone. Where
there is no torch, files of the same form and much the same share of trained bytes are made up, and
the output is `imitated`.
"""

import os
import pickle
import sys
import zipfile

WIDTH, WIDTH_SMALL, SMALL = 512, 64, 4_000_000
STEPS_BEFORE = 3


def sizes(parameters):
    width = WIDTH if parameters >= SMALL else WIDTH_SMALL
    layer = 12 * width * width
    return width, max(2, round(parameters / layer))


def trained(index, layers, kind):
    return kind == "whole" or index >= layers - max(1, layers // 8)


def by_torch(paths, parameters, kind):
    import torch
    from torch import nn

    torch.manual_seed(7)
    width, layers = sizes(parameters)
    words = 1000
    parts = [
        nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True) for _ in range(layers)
    ]
    model = nn.ModuleDict({
        "words": nn.Embedding(words, width),
        "layers": nn.ModuleList(parts),
        "head": nn.Linear(width, words),
    })
    if kind == "frozen":
        model["words"].requires_grad_(False)
    for index, layer in enumerate(parts):
        layer.requires_grad_(trained(index, layers, kind))
    free = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(free, lr=1e-4)

    def step():
        text = torch.randint(words, (2, 17))
        hidden = model["words"](text[:, :-1])
        for layer in parts:
            hidden = layer(hidden)
        said = model["head"](hidden)
        loss = nn.functional.cross_entropy(said.flatten(0, 1), text[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def save(path, number):
        state = {"model": model.state_dict(), "optimizer": optimiser.state_dict(), "step": number}
        torch.save(state, path)

    for _ in range(STEPS_BEFORE):
        step()
    save(paths[0], STEPS_BEFORE)
    step()
    save(paths[1], STEPS_BEFORE + 1)
    print("torch", torch.__version__)


def by_hand(paths, parameters, kind):
    width, layers = sizes(parameters)
    layer = 12 * width * width * 4
    still = [index for index in range(layers) if not trained(index, layers, kind)]
    frozen = {index: os.urandom(layer) for index in still}
    for number, path in enumerate(paths, STEPS_BEFORE):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            file.writestr(zipfile.ZipInfo("archive/data.pkl"), pickle.dumps({"step": number}))
            for index in range(layers):
                one = zipfile.ZipInfo(f"archive/data/{index}")
                file.writestr(one, frozen.get(index) or os.urandom(layer))
            for index in range(2 * (layers - len(frozen))):
                one = zipfile.ZipInfo(f"archive/data/{layers + index}")
                file.writestr(one, os.urandom(layer))
    print("imitated")


def main():
    *paths, parameters, kind = sys.argv[1:]
    try:
        by_torch(paths, int(parameters), kind)
    except ImportError:
        by_hand(paths, int(parameters), kind)


main()
