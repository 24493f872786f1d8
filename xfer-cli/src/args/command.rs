//! The parser, made from the tables of verbs and flags.

use clap::builder::{OsStringValueParser, PossibleValuesParser};
use clap::{Arg, ArgAction, Command};

use super::flags::{FLAGS, Flag, Group, Kind};
use super::values::span;

/// A verb: its name, what it does, its operands and its flags.
struct Verb {
    name: &'static str,
    about: &'static str,
    operands: fn(Command) -> Command,
    groups: &'static [Group],
}

const TRANSFER: &[Group] = &[
    Group::Selection,
    Group::Proof,
    Group::Trial,
    Group::Removal,
    Group::Preserve,
    Group::Travel,
    Group::Watch,
    Group::Connection,
    Group::Output,
    Group::OldFingers,
];
/// Those of a transfer that ends by itself.
const EVACUATE: &[Group] = &[
    Group::Selection,
    Group::Proof,
    Group::Trial,
    Group::Removal,
    Group::Preserve,
    Group::Travel,
    Group::Connection,
    Group::Output,
    Group::OldFingers,
];
/// The flags of a transfer that are settings.
const SETTINGS: &[Group] = TRANSFER.split_at(TRANSFER.len() - 1).0;
const REMOTE: &[Group] = &[Group::Connection, Group::Output];
const GATE: &[Group] = &[Group::Trial, Group::Connection, Group::Output];
const PROBE: &[Group] = &[Group::Probe, Group::Connection, Group::Output];
const SERVE: &[Group] = &[Group::Serve, Group::Output];
const PLAIN: &[Group] = &[Group::Output];

const VERBS: &[Verb] = &[
    Verb {
        name: "push",
        about: "Copy sources to a destination",
        operands: sources_and_destination,
        groups: TRANSFER,
    },
    Verb {
        name: "pull",
        about: "Copy sources to a destination on this machine",
        operands: sources_and_destination,
        groups: TRANSFER,
    },
    Verb {
        name: "sync",
        about: "Make a destination equal to one source",
        operands: sources_and_destination,
        groups: TRANSFER,
    },
    Verb {
        name: "verify",
        about: "Read a location again and compare it",
        operands: verify_operands,
        groups: REMOTE,
    },
    Verb {
        name: "ls",
        about: "List the entries of a location, or the uploads to it that are not finished",
        operands: list_operands,
        groups: REMOTE,
    },
    Verb {
        name: "probe",
        about: "Measure ways, rates and disks of machines, and tell what bounds a transfer",
        operands: locations,
        groups: PROBE,
    },
    Verb {
        name: "receipt",
        about: "Print or export a receipt",
        operands: receipt_verbs,
        groups: &[],
    },
    Verb {
        name: "report",
        about: "Print what a file of events says of a run",
        operands: report_operands,
        groups: PLAIN,
    },
    Verb {
        name: "gate",
        about: "Tell whether a machine may be destroyed: a token, or why not",
        operands: gate_operands,
        groups: GATE,
    },
    Verb {
        name: "rehearse",
        about: "Show a push, a kill, a resume and the verdicts of the gate on this machine alone",
        operands: rehearse_operands,
        groups: PLAIN,
    },
    Verb {
        name: "serve",
        about: "Serve named directories to whoever holds a token, where there is no sshd",
        operands: |c| c,
        groups: SERVE,
    },
    Verb {
        name: "hosts",
        about: "List the host keys that are pinned for machines, or forget one",
        operands: hosts_verbs,
        groups: &[],
    },
    Verb {
        name: "install",
        about: "Put this program on another machine",
        operands: one_location,
        groups: REMOTE,
    },
    Verb {
        name: "evacuate",
        about: "Copy a machine's files, read them back, ask the gate, and destroy it if asked to",
        operands: evacuate_operands,
        groups: EVACUATE,
    },
    Verb {
        name: "destroy",
        about: "Destroy a rented machine, as a token of the gate allows, and follow it to the end",
        operands: destroy_operands,
        groups: REMOTE,
    },
    Verb {
        name: "transfers",
        about: "List transfers that were started with --detach",
        operands: |c| c,
        groups: PLAIN,
    },
    Verb {
        name: "attach",
        about: "Follow a detached transfer to its end, and end as it does",
        operands: one_transfer,
        groups: PLAIN,
    },
    Verb {
        name: "cancel",
        about: "Stop a detached transfer cleanly; what arrived stays",
        operands: one_transfer,
        groups: PLAIN,
    },
    Verb {
        name: "config",
        about: "Show the settings in effect",
        operands: config_verbs,
        groups: &[],
    },
    Verb {
        name: "completions",
        about: "Print the completions of a shell",
        operands: completions_operands,
        groups: PLAIN,
    },
    Verb { name: "man", about: "Print the manual page", operands: |c| c, groups: PLAIN },
    Verb { name: "version", about: "Print the version", operands: |c| c, groups: PLAIN },
];

const LOCATIONS: &str = "\
Locations: path, ./a:b, file:///abs (here); [user@]host:path, [v6]:path,
ssh://[user@]host[:port]/path (over SSH, as ssh would reach the host);
xfer://host:port/root/path (a standing peer, xfer serve);
vast:ID:/path, sky:CLUSTER:/path, runpod:ID:/path, lambda:ID:/path (a
rented machine, looked up at each run);
s3://bucket/path, gs://, az://, b2:// (an object store);
rclone:REMOTE:path (what an installed rclone reaches);
https://host/file, hf://owner/model, hf://datasets/owner/name (sources only).
A trailing / on a source directory means its contents; on the destination, that it must be a
directory.

Every long flag but --yes, --delete, --max-delete, --token, --confirm, --ack and --destroy has a
twin in the environment: --min-size is XFER_MIN_SIZE. Switches take --no-…; values also follow as
--flag=VALUE; -- ends the flags.
Configuration: $XDG_CONFIG_HOME/xfer/config.toml, /etc/xfer/config.toml, and .xfer.toml.
Exit codes: 0 only if every selected entry was verified to the asked level; see xfer man.";

/// The whole parser.
pub(crate) fn command() -> Command {
    let mut command = Command::new("xfer")
        .about("Moves datasets in and checkpoints out of rented machines, verified and resumable")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .after_help(LOCATIONS)
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .max_term_width(100);
    for verb in VERBS {
        command = command.subcommand(verb_command(verb));
    }
    let rehearsed = Command::new("rehearsed")
        .hide(true)
        .about("Push to the embedded peer of a rehearsal")
        .arg(operand("SOURCE", "Where bytes come from"))
        .arg(operand("DESTINATION", "Where they go"));
    command.subcommand(with_flags(rehearsed, TRANSFER)).subcommand(
        Command::new("agent").hide(true).about("Serve a session on standard input and output").arg(
            Arg::new("words")
                .num_args(0..)
                .allow_hyphen_values(true)
                .trailing_var_arg(true)
                .value_parser(OsStringValueParser::new()),
        ),
    )
}

/// The flags alone, for the check of one layer of settings.
pub(crate) fn flags_only() -> Command {
    let of_transfers = with_flags(Command::new("xfer").no_binary_name(true), TRANSFER);
    with_flags(of_transfers, &[Group::Probe, Group::Serve])
}

fn verb_command(verb: &Verb) -> Command {
    let command = Command::new(verb.name).about(verb.about);
    with_flags((verb.operands)(command), verb.groups)
}

fn with_flags(mut command: Command, groups: &[Group]) -> Command {
    if groups.contains(&Group::OldFingers) {
        // The letter is rsync's for sizes that people read.
        let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print help");
        command = command.disable_help_flag(true).arg(help);
    }
    for group in groups {
        for flag in FLAGS.iter().filter(|flag| flag.group == *group) {
            for arg in flag_args(flag) {
                command = command.arg(arg.help_heading(group.heading()));
            }
        }
    }
    command
}

fn flag_args(flag: &'static Flag) -> Vec<Arg> {
    let mut arg = Arg::new(flag.id());
    if !flag.long.is_empty() {
        arg = arg.long(flag.long);
    }
    if let Some(letter) = flag.short {
        arg = arg.short(letter);
    }
    match flag.kind {
        Kind::Switch { on } => {
            let negative = opposite_of(flag);
            let positive = arg.action(ArgAction::SetTrue).overrides_with(negative.get_id());
            if on {
                vec![negative.help(flag.help).hide(false), positive.hide(true)]
            } else {
                vec![positive.help(flag.help), negative]
            }
        }
        Kind::Count => {
            let opposite = opposite_of(flag);
            let counted = arg.action(ArgAction::Count).overrides_with(opposite.get_id());
            vec![counted.help(flag.help), opposite]
        }
        Kind::OldFinger => {
            let id = flag.id();
            let finger = arg.action(ArgAction::SetTrue).overrides_with(id).help(flag.help);
            // Nothing keeps directories from being copied.
            let is_meant = !["", "recursive"].contains(&flag.long);
            [Some(finger), is_meant.then(|| opposite_of(flag))].into_iter().flatten().collect()
        }
        Kind::Value(name, check) => vec![
            arg.value_name(name)
                .help(flag.help)
                .allow_hyphen_values(true)
                .value_parser(move |text: &str| check(text).map(|()| text.to_owned())),
        ],
        Kind::Optional(name, without, check) => vec![
            arg.value_name(name)
                .help(flag.help)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(without)
                .value_parser(move |text: &str| check(text).map(|()| text.to_owned())),
        ],
        Kind::Values(name, check) => vec![
            arg.value_name(name)
                .help(flag.help)
                .action(ArgAction::Append)
                .value_parser(move |text: &str| check(text).map(|()| text.to_owned())),
        ],
        Kind::File(name) => vec![
            arg.value_name(name)
                .help(flag.help)
                .value_parser(OsStringValueParser::new())
                .value_hint(clap::ValueHint::FilePath),
        ],
        Kind::Files(name) | Kind::Pattern(name) => vec![
            arg.value_name(name)
                .help(flag.help)
                .action(ArgAction::Append)
                .value_parser(OsStringValueParser::new()),
        ],
    }
}

/// What turns a flag off again.
fn opposite_of(flag: &'static Flag) -> Arg {
    let opposite = format!("no-{}", flag.long);
    Arg::new(opposite.clone())
        .long(opposite)
        .action(ArgAction::SetTrue)
        .overrides_with(flag.id())
        .hide(true)
}

fn operand(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .required(true)
        .help(help)
        .value_parser(OsStringValueParser::new())
        .value_hint(clap::ValueHint::AnyPath)
}

/// One list, so that flags may stand between operands; its last is the destination.
fn sources_and_destination(command: Command) -> Command {
    let several = if command.get_name() == "sync" { "" } else { "…" };
    let usage = format!("xfer {} [FLAGS] SOURCE{several} DESTINATION", command.get_name());
    command.override_usage(usage).arg(
        operand("LOCATION", "Where bytes come from, and at last where they go")
            .num_args(1..)
            .action(ArgAction::Append),
    )
}

fn one_location(command: Command) -> Command {
    command.arg(operand(
        "LOCATION",
        "path, HOST:path, ssh://HOST/path, xfer://HOST:PORT/ROOT, vast:ID:/path or s3://BUCKET",
    ))
}

fn list_operands(command: Command) -> Command {
    one_location(command)
        .arg(
            Arg::new("uploads")
                .long("uploads")
                .action(ArgAction::SetTrue)
                .help("Of an object store: list uploads of this machine that are not finished"),
        )
        .arg(
            Arg::new("abort-stale")
                .long("abort-stale")
                .value_name("TIME")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("24h")
                .requires("uploads")
                .value_parser(span)
                .help("Abort those on which nobody worked for so long (default: 24h)"),
        )
}

fn locations(command: Command) -> Command {
    let each =
        operand("LOCATION", "What to look at; of two, a transfer from the first to the second");
    command.arg(each.num_args(1..).action(ArgAction::Append))
}

fn verify_operands(command: Command) -> Command {
    one_location(command).arg(
        operand("against", "What it must equal: a receipt, a manifest (b3sum form) or a location")
            .long("against")
            .value_name("WHAT"),
    )
}

fn one_transfer(command: Command) -> Command {
    command.arg(operand("ID", "Its name, or how that begins"))
}

fn rehearse_operands(command: Command) -> Command {
    command
        .arg(operand("DIR", "Where to play; a new temporary directory by default").required(false))
}

/// What may be given any number of times, or once.
fn words(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).help(help);
    arg.action(ArgAction::Append).value_parser(OsStringValueParser::new())
}

fn gate_operands(command: Command) -> Command {
    let machine = "The machine: vast:ID, sky:CLUSTER, runpod:ID, lambda:ID or HOST:, with a path \
                   that is to be protected";
    let command = command
        .arg(operand("MACHINE", machine))
        .arg(words("root", "PATH", "Protect PATH too; without any path /workspace and home"))
        .arg(words("receipt", "PLACE", "Believe this receipt; by itself those kept of MACHINE"));
    judged(command)
}

/// What decides on a verdict, and where its token goes.
fn judged(command: Command) -> Command {
    command
        .arg(
            words("policy", "FILE", "Ask what FILE says; by itself the user's gate.toml")
                .action(ArgAction::Set),
        )
        .arg(words("ack", "DIGEST", "Accept the loss of what the verdict shows with DIGEST"))
        .arg(words("trust-key", "FILE", "Believe receipts of the keys in FILE too, one a line"))
        .arg(
            words("token", "FILE", "Write the token to FILE and not to standard output")
                .action(ArgAction::Set),
        )
}

fn report_operands(command: Command) -> Command {
    command.arg(operand("FILE", "What --events wrote, or --json printed; - is standard input"))
}

fn receipt_verbs(command: Command) -> Command {
    let verb = |name, about| {
        let command = Command::new(name).about(about).arg(operand("FILE", "A receipt"));
        with_flags(command, PLAIN)
    };
    let keys = words("trust-key", "FILE", "Believe the keys in FILE too, one a line; repeatable");
    command
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(verb("show", "Print a receipt"))
        .subcommand(verb("check", "Prove who signed it, and that all of it is there").arg(keys))
        .subcommand(verb("export", "Print its digests for b3sum -c"))
}

fn hosts_verbs(command: Command) -> Command {
    let forget = Command::new("forget")
        .about("Forget the key of a machine; the next contact pins it anew")
        .arg(operand("MACHINE", "Such as vast:33402296"));
    let list = Command::new("list").about("Print every pinned key");
    command
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(with_flags(list, PLAIN))
        .subcommand(with_flags(forget, PLAIN))
}

fn evacuate_operands(command: Command) -> Command {
    let machine = "The machine: vast:ID, sky:CLUSTER, runpod:ID, lambda:ID or HOST:, with a path \
                   that is to be saved; without any path /workspace and home";
    let flag = |name: &'static str| Arg::new(name).long(name);
    let command = command
        .arg(operand("MACHINE", machine))
        .arg(operand("DESTINATION", "Where all goes: best a bucket"))
        .arg(words("root", "PATH", "Save PATH too"));
    judged(command)
        .arg(
            flag("destroy")
                .action(ArgAction::SetTrue)
                .help("Destroy the machine once the gate says Release"),
        )
        .arg(
            flag("confirm")
                .value_name("ID")
                .value_parser(OsStringValueParser::new())
                .help("With --destroy: the machine's id, in full; asked for on a terminal"),
        )
        .arg(
            flag("on-hold")
                .value_name("WHAT")
                .value_parser(PossibleValuesParser::new(["leave", "stop"]))
                .help("On Hold, leave the machine running (default), or stop it and keep its disk"),
        )
}

fn destroy_operands(command: Command) -> Command {
    command
        .arg(operand("MACHINE", "One machine and no path, such as vast:33402296"))
        .arg(
            operand("token", "The token that xfer gate wrote; it is good once, and for minutes")
                .long("token")
                .value_name("FILE"),
        )
        .arg(
            operand("confirm", "The machine's id, in full; asked for on a terminal")
                .long("confirm")
                .value_name("ID")
                .required(false),
        )
}

fn config_verbs(command: Command) -> Command {
    let show = Command::new("show").about("Print the settings in effect").arg(
        Arg::new("origin")
            .long("origin")
            .action(ArgAction::SetTrue)
            .help("Print where each comes from, too"),
    );
    command
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(with_flags(show, SETTINGS))
}

fn completions_operands(command: Command) -> Command {
    command.arg(
        Arg::new("SHELL").required(true).help("Whose").value_parser(PossibleValuesParser::new([
            "bash",
            "elvish",
            "fish",
            "powershell",
            "zsh",
        ])),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_parser_is_sound() {
        super::command().debug_assert();
        super::flags_only().debug_assert();
    }
}
