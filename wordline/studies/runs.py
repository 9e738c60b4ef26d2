"""The runs of the studies of recurrent networks: training, and accuracy under noise.

Functions for `wordline.jobs`: of a `Here` and plain values, to plain values. Accuracies are of
held-out test sets, in percent.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from golden import crossbar, dac, datasets, effects, head, network
from golden.datasets import Dataset, Sequences
from golden.description import Description
from golden.effects import Effects
from golden.errors import WordlineError
from golden.float_network import FloatModel
from golden.injection import Injection
from golden.levels import Levels
from golden.measures import percent
from golden.parameters import Network
from golden.program import Program
from golden.training import evaluate as of_programs
from golden.training.evaluate import worth
from golden.training.float import fit_float
from golden.training.quantised import Trainable, fit_quantised
from golden.training.settings import Training
from wordline.jobs import Here

Fields = dict[str, Any]


Cell = str | Fields
"""A cell's kind, or its fields in a description."""


def describe(data: Dataset, cell: Cell, hidden: int, sections: Fields | None = None) -> Description:
    """The design of a study: one layer of `hidden` units, 4/4/4 bits but for `sections`."""
    net = Network(inputs=data.channels, hidden=(hidden,), classes=data.classes)
    description = Description(name="study", network=net)
    steps = "every" if data.train.every_step else "last"
    cell = {"kind": cell} if isinstance(cell, str) else cell
    sections = {"cell": cell, "output": {"steps": steps}} | (sections or {})
    return description.replace(**sections)


def injection(snr_db: float | None, placement: str, power: str = "layer") -> Injection | None:
    """The noise of a ratio, None of None."""
    if snr_db is None:
        return None
    return Injection(snr_db=snr_db, placement=placement, power=power)  # type: ignore[arg-type]


def train_float(
    here: Here,
    *,
    dataset: str,
    cell: Cell,
    hidden: int,
    fit: Fields,
    seed: int,
    start: str | None = None,
    snr_db: float | None = None,
    placement: str = "pre-activations",
    passes: int = 1,
    held: int = 0,
) -> Fields:
    """Train a float network, from `start` if there is one, with noise if there is a ratio.

    fit: epochs, batch, learning_rate. passes: noisy ones whose mean scores the loss is of. held: as
    `parts` says.
    """
    data = datasets.load(dataset, here.data_dir)
    train, validation = parts(data.train, held)
    description = describe(data, cell, hidden)
    settings = {"float_epochs": fit["epochs"], "batch": fit["batch"]}
    settings |= {"learning_rate": fit["learning_rate"], "dataset": dataset, "seed": seed}
    settings |= {} if snr_db is None else {"noise": snr_db, "passes": passes}
    torch.manual_seed(seed)
    model = fit_float(
        description,
        Training(**settings),
        train,
        device=here.device,
        start=None if start is None else FloatModel.load(here.file(start), description),
        injection=injection(snr_db, placement),
    )
    model.save(here.file())
    found = measured(model.scores(data.test), data.test)
    if validation is None:
        return found
    return found | {"held": measured(model.scores(validation), validation)}


def train_quantised(
    here: Here,
    *,
    dataset: str,
    cell: Cell,
    hidden: int,
    fit: Fields,
    seed: int,
    start: str,
    sections: Fields | None = None,
    levels: Fields | None = None,
    snr_db: float | None = None,
    placement: str = "pre-activations",
    passes: int = 1,
    held: int = 0,
) -> Fields:
    """Train the quantised network from a float one, with noise if there is a ratio.

    fit: epochs, batch, learning_rate. sections: of the description, where it is not 4/4/4 bits.
    levels: how level tables are found, where the sections leave that to training. held: as `parts`
    says.
    """
    data = datasets.load(dataset, here.data_dir)
    train, validation = parts(data.train, held)
    settings = {**fit, "dataset": dataset, "seed": seed, "placement": placement}
    if snr_db is not None:
        settings |= {"noise": snr_db, "passes": passes}
    model = FloatModel.load(here.file(start), describe(data, cell, hidden))
    torch.manual_seed(seed)
    program = fit_quantised(
        model,
        describe(data, cell, hidden, sections),
        Training(**settings),
        train,
        device=here.device,
        levels=Levels(**levels or {}),
    )
    program.save(here.file())
    return measured_on(program, data.test, validation)


def parts(train: Sequences, held: int) -> tuple[Sequences, Sequences | None]:
    """What of a training set is trained on, and what choices are made on.

    held: One in so many sequences is for choices; 0: none is.
    """
    if not held:
        return train, None
    if len(train) < held:
        raise WordlineError(
            f"The data set has {len(train)} sequences to train, of which one in {held} would be "
            f"kept for choices; give at least {held}."
        )
    chosen = torch.arange(len(train)) % held == held - 1
    return train.part((~chosen).nonzero()[:, 0]), train.part(chosen.nonzero()[:, 0])


def measured_on(program: Program, test: Sequences, validation: Sequences | None) -> Fields:
    """`measured_exactly` on the test set and, as "held", on what choices are made on."""
    found = measured_exactly(program, test)
    if validation is None:
        return found
    return found | {"held": measured_exactly(program, validation)}


def measured(score: Tensor, data: Sequences) -> Fields:
    """What real scores, (labels' shape, classes), are worth: accuracy; bits a label, where every
    step has one."""
    found = worth(score, data)
    return {"clean": found.pop("accuracy"), **found}


def measured_exactly(program: Program, data: Sequences) -> Fields:
    """`measured`, of a program in exact integers."""
    return measured(program.real(of_programs.scores(program, data)[:, 0]), data)


def programmed(
    here: Here, *, dataset: str, program: str, noise: str, seed: int, held: int = 0
) -> Fields:
    """A program on a chip whose devices missed their targets as a device model does."""
    ideal = Program.load(here.file(program))
    chip = effects.apply(ideal, Effects(programming=noise, seed=seed))  # type: ignore[arg-type]
    data = datasets.load(dataset, here.data_dir)
    return measured_on(chip, data.test, parts(data.train, held)[1])


def placed(
    here: Here,
    *,
    dataset: str,
    cell: Cell,
    hidden: int,
    start: str,
    designs: list[Fields],
    held: int = 0,
) -> Fields:
    """Where levels are before fine-tuning, in the first layer, for each of `designs` (sections and
    levels of `train_quantised`), in standard deviations of its weights; and their histogram."""
    data = datasets.load(dataset, here.data_dir)
    train, _ = parts(data.train, held)
    model = FloatModel.load(here.file(start), describe(data, cell, hidden))
    found: Fields = {"positions": []}
    for design in designs:
        description = describe(data, cell, hidden, design["sections"])
        trainable = Trainable(model, train, description, Levels(**design["levels"]))
        weights, levels = trainable.layers[0].in_deviations()
        found["positions"].append([round(value, 4) for value in levels.unique().tolist()])
    share, edges = torch.histogram(weights.float().cpu(), 61, range=(-3.5, 3.5), density=True)
    found["histogram"] = {
        "edges": [round(value, 4) for value in edges.tolist()],
        "share": [round(value, 5) for value in share.tolist()],
    }
    return found


def curve(score: Tensor, truth: Tensor) -> Fields:
    """Accuracy of one pass (the mean over all), and of votes of the first K, K = 1, 2, 4, ...

    score: (sequences, passes, classes), integers or real numbers.
    """
    label = score.argmax(-1)
    votes = [1 << n for n in range(score.shape[1].bit_length())]
    ones = torch.nn.functional.one_hot(label, score.shape[-1])
    return {
        "one": percent(label, truth[:, None]),
        "votes": votes,
        "majority": [percent(head.label(ones[:, :k].sum(1)), truth) for k in votes],
        "sum": [percent(score[:, :k].sum(1).argmax(-1), truth) for k in votes],
    }


def evaluate(
    here: Here,
    *,
    dataset: str,
    cell: Cell,
    hidden: int,
    model: str,
    quantised: bool,
    placement: str,
    seed: int,
    points: list[tuple[float | None, int, str]],
) -> list[Fields]:
    """`curve` of a trained network at each of `points`: a signal-to-noise ratio in dB, or None, the
    number of passes, and the power that the ratio is of (`golden.injection.Power`)."""
    data = datasets.load(dataset, here.data_dir)
    test = data.test
    if quantised:
        program = Program.load(here.file(model))
        codes = dac.encode(test.x, program.input_mean, program.input_step, program.description.dac)
    else:
        float_model = FloatModel.load(here.file(model), describe(data, cell, hidden))
    found = []
    torch.manual_seed(seed)
    for snr_db, passes, power in points:
        noise = injection(snr_db, placement, power)
        scores = []
        for _ in range(passes):
            if quantised:
                scores.append(network.scores(program, codes, test.lengths, noise)[:, 0])
            else:
                scores.append(float_model.scores(test, noise))
        point = {"snr_db": snr_db, "power": power, "steps": float(test.lengths.double().mean())}
        found.append(point | curve(torch.stack(scores, 1), test.labels))
    return found


def disturb(
    here: Here,
    *,
    dataset: str,
    program: str,
    adc_lsb: list[float],
    weight: list[float],
    chips: int,
    seed: int,
) -> Fields:
    """Accuracy of a program against noise of the ADCs in LSB, and against noise of the weights, a
    fraction of the largest weight; the mean over `chips` draws of either."""
    test = datasets.load(dataset, here.data_dir).test
    ideal = Program.load(here.file(program))

    def accuracies(disturbed: list[Program]) -> float:
        return sum(of_programs.measured(p, test)["accuracy"] for p in disturbed) / len(disturbed)

    found: Fields = {"adc": [], "weight": []}
    for sigma in adc_lsb:
        noisy = [
            effects.apply(ideal, Effects(adc_sigma=sigma), seed=seed * chips + chip)
            for chip in range(chips)
        ]
        found["adc"].append(accuracies(noisy if sigma else [ideal]))
    for sigma in weight:
        generator = torch.Generator().manual_seed(seed)
        noisy = [weights_with_noise(ideal, sigma, generator) for _ in range(chips)]
        found["weight"].append(accuracies(noisy if sigma else [ideal]))
    return found


def weights_with_noise(program: Program, sigma: float, generator: torch.Generator) -> Program:
    """The program with a normal deviation on every weight, a fraction of the largest level, once
    for all: N(0, (sigma * w_max)^2), rounded to conductance codes and cut at full scale."""
    most = program.description.device.conductance_max

    def noisy(array: Any) -> Any:
        differential = (array.positive - array.negative).double()
        normal = torch.randn(differential.shape, generator=generator, dtype=torch.float64)
        top = array.levels.max()
        changed = (differential + sigma * top * normal + 0.5).floor().clamp(-most, most).long()
        positive, negative = crossbar.pair(changed)
        return dataclasses.replace(array, positive=positive, negative=negative)

    return dataclasses.replace(
        program,
        layers=tuple(noisy(layer) for layer in program.layers),
        head=noisy(program.head),
    )


def at_snr(
    program: Program,
    data: Sequences,
    snr_db: float,
    seed: int,
    placement: str = "pre-activations",
) -> Program:
    """The program with noise of that signal-to-noise ratio, as the hardware has it: one amplitude
    an array, from mean squares over a data set.

    On pre-activations it is ADC noise of the layers, the head has none. At the product, the head
    has it too; and the noise of the rows' codes becomes read noise of the same power on the
    columns. Unlike noise on a row it is not shared by the columns.
    """
    product = placement == "product"
    codes = dac.encode(data.x, program.input_mean, program.input_step, program.description.dac)
    frac, ratio = program.description.cell.frac, 10 ** (-snr_db / 10)
    arrays = program.arrays
    signal, rows = ({name: 0.0 for name in arrays} for _ in range(2))
    count = {name: 0 for name in arrays}

    def add(name: str, values: Tensor, inputs: list[Tensor]) -> None:
        """Mean squares of some steps: pre-activations in LSB, and the charge of noisy inputs."""
        array = arrays[name]
        count[name] += len(values)
        signal[name] += float(values.flatten(1).square().mean(1).sum())
        column = (array.positive - array.negative).double().square().mean((0, 1))  # of each row
        for part, weight in zip(inputs, column.split([v.shape[1] for v in inputs]), strict=True):
            rows[name] += float(part.double().square().mean(1).sum() * weight.sum())

    for part, trace in network.in_parts(program, codes, data.lengths):
        last = data.lengths[part] - 1
        valid = torch.arange(codes.shape[1]) <= last[:, None]
        x = codes[part]
        for n, (layer, array) in enumerate(zip(trace.layers, program.layers, strict=True)):
            assert layer.codes is not None
            before = torch.cat([torch.zeros_like(layer.h[:, :1]), layer.h[:, :-1]], 1)
            values = layer.codes[valid].double() + array.bias / 2**frac
            add(f"layers.{n}", values, [x[valid], before[valid]])
            x = layer.h
        if program.head is not None:
            add("head", trace.scores.double() / 2**frac, [x[torch.arange(len(x)), last]])

    def noisy(name: str) -> Any:
        sigma = (signal[name] / count[name] * ratio) ** 0.5
        made = effects.apply(program, Effects(adc_sigma=sigma), seed=seed).arrays[name]
        if not product:
            return made
        # In 1/16 of a unit of charge; row tiles share the power evenly.
        charge = (rows[name] / count[name] * ratio / len(made.read_noise)) ** 0.5
        amplitude = torch.full_like(made.read_noise, round(16 * charge))
        return dataclasses.replace(made, read_noise=amplitude)

    layers = tuple(noisy(f"layers.{n}") for n in range(len(program.layers)))
    head = noisy("head") if product and program.head is not None else program.head
    return dataclasses.replace(program, layers=layers, head=head)


def chip_of(
    program: Program,
    data: Dataset,
    *,
    seed: int,
    read_sigma: float = 0.0,
    snr_db: float | None,
    placement: str = "pre-activations",
) -> Program:
    """A trained program with the hardware's own noise: read noise, a fraction of full scale, or
    that of a ratio (`at_snr`, measured over the training set)."""
    if snr_db is not None:
        return at_snr(program, data.train, snr_db, seed, placement)
    return effects.apply(program, Effects(seed=seed, read_sigma=read_sigma))


def vote(
    here: Here,
    *,
    dataset: str,
    program: str,
    seed: int,
    votes: list[int],
    read_sigma: float = 0.0,
    snr_db: float | None = None,
    placement: str = "pre-activations",
) -> list[Fields]:
    """Accuracy of a program with the hardware's own noise (`chip_of`) by either way to vote, at
    each of `votes` passes; the passes are those that the Verilog computes."""
    data = datasets.load(dataset, here.data_dir)
    test = data.test
    noise: Fields = {"read_sigma": read_sigma, "snr_db": snr_db, "placement": placement}
    chip = chip_of(Program.load(here.file(program)), data, seed=seed, **noise)
    codes = dac.encode(test.x, chip.input_mean, chip.input_step, chip.description.dac)
    found = []
    for passes in votes:
        voting = dataclasses.replace(chip, votes=passes)
        scores = network.scores(voting, codes, test.lengths)
        point: Fields = {"votes": passes}
        for by in ("majority", "sum"):
            point[by] = percent(head.vote(scores, by), test.labels)  # type: ignore[arg-type]
        found.append(point)
    return found
