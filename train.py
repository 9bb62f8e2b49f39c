"""Train the network of model.py on pen data: `python train.py`. Flags, then a run in its order."""

import sys

if __name__ == "__main__":  # Ctrl-C while the rest is imported shows no traceback
    sys.excepthook = lambda kind, *error: (
        kind is KeyboardInterrupt or sys.__excepthook__(kind, *error)
    )

import argparse
import math
import signal
import warnings

from handwriting.files import UserError
from handwriting.flags import Parser, errors_as_sentences, file_name, number, say
from handwriting.ink.recording import find_recordings
from utils import DataLoader

# Flags of how a run is started, not of what it computes; config.json does not hold them.
OF_START = ("model_dir", "resume", "overwrite", "strategy")
# What --init of a network that writes text changes: a hand has few lines, of which most of what
# they teach is already known.
FINE_TUNING = {
    "batch_size": 8, "num_epochs": 30, "learning_rate": 0.0001, "decay": "linear", "warmup": 5,
    "grad_clip": 0.5, "keep_prob": 0.95,
}  # fmt: skip
FEW = 1000  # lines, from which a network does not learn to write
# Flags that may be given with --resume.
MAY_CHANGE = ("num_epochs", "save_every", "learning_rate", "data_dir", "precision")


def build_parser():
    """All flags; those of the post's program keep its names and defaults."""
    parser = Parser("train.py", "Train the network on pen data.")
    count, share = number(int, 1, 1 << 30), number(float, 0, 1)

    add = parser.add_argument_group("network").add_argument
    add("--model", default="lstm", choices=["gru", "lstm", "rnn"], help="kind of recurrent layer")
    add("--rnn_size", default=256, type=number(int, 1, 65536), help="units in a layer")
    add("--num_layers", default=2, type=number(int, 1, 64), help="recurrent layers")
    add("--num_mixture", default=20, type=number(int, 1, 1024), help="normals in the mixture")
    add("--peephole", action="store_true", help="lstm gates see the memory cell")
    add("--layer_norm", action="store_true",
        help="normalise the inputs of each lstm gate, and the memory cell where it is read")
    add("--skip", action="store_true",
        help="the points go into every layer, and every layer into the output")
    add("--polar", action="store_true", help="also feed the direction and log length of each move")
    add("--keep_prob", default=0.8, type=number(float, 0.001, 1),
        help="dropout: the probability of keeping a layer's output (1: no dropout)")

    add("--text", action="store_true",
        help="learn to write a given text, from whole lines and their transcriptions: a window "
             "over the characters tells the lstm layers what to write")
    add("--join_lines", action="store_true",
        help="of texts: three in four sequences are two or three lines of a form, joined: the "
             "network learns to keep to a hand")

    add("--hands", action="store_true",
        help="of texts, with --layer_norm: the network is told in whose hand a line is, by the "
             "encoder of handwriting.train_hands")

    add = parser.add_argument_group("data").add_argument
    add("--data_dir", default="data", type=file_name,
        help="folder with lineStrokes-all.tar.gz, lineStrokes/ or a cache; for --text also "
             "ascii-all.tar.gz or ascii/; or with recordings of a hand, hand*.json")
    add("--data_scale", default=20.0, type=number(float, 0.001, 1e6),
        help="pen units in one scaled unit")
    add("--batch_size", default=50, type=number(int, 1, 1 << 20),
        help="windows, with --text lines, in a batch")
    add("--seq_length", default=300, type=number(int, 1, 1 << 20), help="points in a window")
    add("--first_points", default=0.0, type=share,
        help="probability that a window starts where its line does; half of these windows start "
             "with the point (0, 0, 1) before the line, as samples do")

    add = parser.add_argument_group("training").add_argument
    add("--num_epochs", default=30, type=count, help="passes over the training lines")
    add("--optimizer", default="adam", choices=["adam", "muon"],
        help="muon: orthogonal steps for the large matrices inside, Adam at half the rate for the "
             "rest")
    add("--learning_rate", default=0.005, type=number(float, 0, 1e3, open_low=True),
        help="the optimizer's rate in the first epoch")
    add("--decay", default="exponential", choices=["exponential", "linear"],
        help="exponential: by --decay_rate after every epoch; linear: to 0 at the end")
    add("--decay_rate", default=0.95, type=number(float, 0, 1, open_low=True),
        help="factor of the rate after every epoch")
    add("--warmup", default=0, type=number(int, 0, 1 << 30), help="steps in which the rate rises")
    add("--weight_decay", default=0.0, type=share,
        help="share of the large matrices inside that a step takes away, times the rate")
    add("--grad_clip", default=10.0, type=number(float, 1e-6, 1e9),
        help="the gradient's global norm is clipped to this")
    add("--precision", default="auto", choices=["auto", "bfloat16", "float32"],
        help="of the factors in lstm products; auto: on a CPU the faster one, on a GPU what "
             "TensorFlow takes (TF32)")
    add("--seed", default=0, type=number(int, 0, 2**31 - 1), help="of weights, batches and dropout")

    add = parser.add_argument_group("run").add_argument
    add("--model_dir", default="save", type=file_name, help="folder of the run")
    add("--save_every", default=500, type=count, help="steps between checkpoints")
    add("--init", metavar="FOLDER", type=file_name,
        help="fine-tune: start from the weights of the run there, with its network and data_scale; "
             "those that write text with new characters of the data added to their alphabet, and "
             "with defaults for a hand's few lines: "
             + ", ".join(f"--{name} {value}" for name, value in FINE_TUNING.items()))
    add("--resume", action="store_true",
        help="go on with the run in --model_dir from its newest checkpoint, with its flags; only "
             + ", ".join(f"--{name}" for name in MAY_CHANGE) + " may be given anew")
    add("--overwrite", action="store_true", help="start anew in a folder that holds a run")
    add("--strategy", default="none", choices=["none", "mirrored", "multi_worker"],
        help="who shares every batch: mirrored: all GPUs of this machine; multi_worker: the "
             "machines that TF_CONFIG names")
    return parser


def parse_flags(argv):
    """The flags, completed by those of the run that --resume or --init names. Raises UserError."""
    parser = build_parser()
    args, given = parser.parse_given(argv)
    for name in ("overwrite", "init"):
        if args.resume and name in given:
            parser.error(f"argument --{name}: does not go with --resume")
    if args.resume or args.init:
        from handwriting.network import checkpoint

        folder = args.model_dir if args.resume else args.init
        config = checkpoint.read_config(folder)
        known = set(config) & set(vars(args))
        fixed = known - set(MAY_CHANGE) if args.resume else set(checkpoint.NETWORK)
        for name in sorted(fixed & set(given)):
            if given[name] != config[name] and (name != "hands" or args.resume):
                raise UserError(
                    f"--{name} {given[name]} contradicts the run in {folder}, where it is "
                    f"{config[name]}; leave it out"
                )
        if config["alphabet"] and not (args.text or args.resume):
            raise UserError(f"--init {folder} is a network that writes text; give --text, too")
        kept = {name: config[name] for name in (known if args.resume else fixed)}
        if args.init and config["alphabet"]:
            kept |= FINE_TUNING
        args = argparse.Namespace(**{**vars(args), **kept, **given})
    check_flags(parser, args, given)
    return args


def check_flags(parser, args, given):
    """End with a sentence if flags clash."""
    with_text = "does not go with --text, which reads whole lines"
    without = "goes with --text, which is missing"
    clashes = ("seq_length", "first_points") if args.text else ("join_lines",)
    for name in clashes:
        if name in given:
            parser.error(f"argument --{name}: {with_text if args.text else without}")
    for_lstm = {"peephole": True, "layer_norm": True, "text": True, "precision": "bfloat16"}
    for name, value in for_lstm.items():
        if args.model != "lstm" and getattr(args, name) == value:
            parser.error(f"argument --{name}: does not go with --model {args.model}")
    if args.hands and not (args.text and args.layer_norm):
        parser.error("argument --hands: goes with --text and --layer_norm; give both")
    if "decay_rate" in given and args.decay == "linear":
        parser.error("argument --decay_rate: does not go with --decay linear")


def make_optimizer(args, model):
    """Adam, or Muon (K. Jordan, 2024) for hidden matrices and Adam at half the rate for others."""
    from handwriting.network.backend import float32_defaults, keras

    hidden = model.hidden_matrices()
    others = [variable for name, variable in model.variables.items() if name not in hidden]
    with float32_defaults():
        if args.optimizer == "muon":
            return keras.optimizers.Muon(
                args.learning_rate, weight_decay=args.weight_decay, adam_weight_decay=0.0,
                adam_lr_ratio=0.5, epsilon=1e-8, exclude_layers=[f"^{v.path}$" for v in others],
            )
        decay = args.weight_decay or None
        optimizer = keras.optimizers.Adam(args.learning_rate, epsilon=1e-8, weight_decay=decay)
        optimizer.exclude_from_weight_decay(others)
        return optimizer


def learning_rate(args, step, num_batches):
    """The rate of a step, counted from 0, where an epoch has num_batches of them."""
    if args.decay == "linear":
        fall = 1.0 - step / (args.num_epochs * num_batches)
    else:
        fall = args.decay_rate ** (step // num_batches)
    return args.learning_rate * fall * min(1.0, (step + 1) / max(1, args.warmup))


def make_train_step(model, optimizer, grad_clip, seed=0):
    """A compiled function (batch, step, stop) -> (loss, gradient norm, stop) that takes one clipped
    step.

    batch: what next_batch returns, under a strategy an equal share of its rows for each replica.
    step: its number, int32. stop: a float; the sum over replicas is returned, so that all see a
    signal to one of them. Where the loss or the norm is not finite, weights and moments stay as
    they were.
    """
    from handwriting.network.backend import float32_defaults, tf

    strategy, variables = tf.distribute.get_strategy(), list(model.variables.values())
    replicas = strategy.num_replicas_in_sync
    optimizer.build(variables)

    def gradients(batch, step, stop):
        replica = tf.distribute.get_replica_context()
        number = step * replicas + tf.cast(replica.replica_id_in_sync_group, tf.int32)
        with tf.GradientTape() as tape:
            nats, target, count = model.loss_sums(*batch, seed=tf.stack([seed, number]))
        values = tape.gradient(target, [v.value for v in variables])
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, [nats, count, stop + 0.0, *values])

    def apply(gradients, scale):  # Keras sums over replicas once more
        with float32_defaults():
            optimizer.apply([g * (scale / replicas) for g in gradients], variables)

    @tf.function(autograph=False, reduce_retracing=True)
    def train_step(batch, step, stop=0.0):
        sums = strategy.run(gradients, (batch, step, stop))
        nats, count, stop, *summed = (strategy.experimental_local_results(v)[0] for v in sums)
        loss, norm = nats / count, tf.linalg.global_norm(summed) / count
        scale = tf.minimum(1.0, grad_clip / norm) / count

        def take():
            strategy.run(apply, (sums[3:], scale))
            return True

        tf.cond(tf.math.is_finite(loss) & tf.math.is_finite(norm), take, lambda: False)
        return loss, norm, stop

    return train_step


def load_data(args):
    """The DataLoader that the flags ask for. Raises UserError."""
    data = load_texts(args) if args.text else DataLoader(
        args.batch_size, args.seq_length, args.data_scale, data_dir=args.data_dir,
        seed=args.seed, first_points=args.first_points,
    )  # fmt: skip
    if not data.valid_data:
        raise UserError(f"--data_dir {args.data_dir} needs two lines: one of them validates")
    if not (args.init or args.resume) and find_recordings(data.folder) and len(data.data) < FEW:
        warnings.warn(
            f"a network learns from nothing on the {len(data.data)} lines in {data.folder}, too "
            "few to write from; to learn a hand give --text --init save/text",
            stacklevel=2,
        )
    return data


def load_texts(args):
    """The TextLoader that the flags ask for. Raises UserError."""
    from handwriting.network.checkpoint import read_config
    from handwriting.text.loader import TextLoader

    source = args.model_dir if args.resume else args.init
    alphabet = read_config(source)["alphabet"] if source else ""
    data = TextLoader(
        args.batch_size, args.data_scale, args.data_dir, seed=args.seed, alphabet=alphabet,
        grow=bool(args.init), join_lines=args.join_lines, hands=args.hands,
    )  # fmt: skip
    if alphabet and (new := data.alphabet[len(alphabet) :]):
        say(f"New in the alphabet of {args.init}: {' '.join(new)}")
    return data


def train(args):
    """Train as the flags say; returns the signal that ended the run, or 0. Raises UserError."""
    from handwriting.measure.likelihood import make_validate
    from handwriting.network import backend, checkpoint
    from handwriting.training import distribute
    from handwriting.training.run import Run
    from model import Model

    import tensorflow as tf

    chief = distribute.is_chief(args.strategy)
    if chief:
        checkpoint.check_folder(args.model_dir, args.resume, args.overwrite)
    data = load_data(args)
    backend.set_threads(args.batch_size)
    strategy = distribute.make_strategy(args.strategy, args.batch_size)
    config = {name: value for name, value in vars(args).items() if name not in OF_START}
    distribute.agree(strategy, {**config, "data_dir": None}, data.deviations)
    config["precision"] = backend.choose_precision(args)
    config["sigma_x"], config["sigma_y"] = data.deviations
    config["alphabet"] = data.alphabet if args.text else ""
    with strategy.scope():
        model = Model(argparse.Namespace(**config))
        if args.init:
            old = checkpoint.read_config(args.init)
            new = [] if old["hands"] else model.hand_kernels
            new += [] if old["alphabet"] else model.window
            grown = model.symbol_rows if old["alphabet"] else []
            checkpoint.load_weights(model, args.init, new, grown)
        optimizer = make_optimizer(args, model)
        train_step = make_train_step(model, optimizer, args.grad_clip, args.seed)
    validate = make_validate(model, data)
    total = args.num_epochs * data.num_batches

    with Run(args, config, model, optimizer, data, chief) as run:
        distribute.agree(strategy, run.step, run.data_size())
        run.begin(f"{data.summary}\n{describe(args, model, data, strategy, run.step)}")
        for step in run.steps(total):
            rate = learning_rate(args, step, data.num_batches)
            optimizer.learning_rate = rate
            batch = distribute.share_batch(strategy, data.next_batch())
            with distribute.waiting_for_peers(strategy):
                stop = tf.constant(float(len(run.signals)))
                loss, norm, stop = map(float, train_step(batch, tf.constant(step), stop))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise UserError(
                    f"the loss is {loss} at step {step + 1}, where the gradient's norm is {norm}; "
                    "this step changed nothing, and the checkpoints before it are good; try a "
                    "smaller --learning_rate or --grad_clip, and look for odd lines in the data"
                )
            run.log_step(loss, norm, rate)
            if run.step % data.num_batches == 0:
                run.log_epoch(validate, rate)
            run.stopped = stop > 0
            if run.stopped or run.step % args.save_every == 0 or run.step == total:
                run.save()
        distribute.leave_together(strategy)
        if run.stopped:
            return run.signals[0] if run.signals else signal.SIGTERM
        run.finish()
    return 0


def describe(args, model, data, strategy, step):
    """A line that tells what is trained, how long and on what."""
    weights = sum(math.prod(variable.shape) for variable in model.variables.values())
    replicas = strategy.num_replicas_in_sync
    return (
        f"{weights:,} weights; {args.num_epochs} epochs of {data.num_batches} steps; products in "
        f"{model.product_type.name} on {'a GPU' if model.on_gpu else 'the CPU'}"
        + (f"; {replicas} replicas" if replicas > 1 else "")
        + (f"; going on from step {step}" if args.resume else "")
    )


def main(argv=None):
    with errors_as_sentences("train.py"):
        args = parse_flags(argv)
        if signum := train(args):
            way = f"python train.py --resume --model_dir {args.model_dir}"
            say(f"train.py: stopped and saved; go on with: {way}", sys.stderr)
            sys.exit(128 + signum)


if __name__ == "__main__":
    main()
