//! What `--chmod` makes of modes, judged by what rsync makes of the same

use std::fs;
use std::path::Path;

use xfer_tests::oracle;
use xfer_tests::tree;

use crate::stand::{self, Side, Stand, Trees};

const CHANGES: [&str; 24] = [
    "D755,F644",
    "F600",
    "D700",
    "u+rwX,go-w",
    "go=",
    "a=rX",
    "a=,u=rwX",
    "+x",
    "-x",
    "=rw",
    "+X,F-w",
    "Fu+x,og-rwx",
    "Da+x,Fo=r",
    "u=rwx,g=rx,o=",
    "DD711",
    "o+t",
    "Da-t,D+t",
    "0640,Du+x",
    "u-X",
    "go+Xr",
    "F=",
    "ugo=r,u+w",
    "755,F-x,F+X",
    "D0755,a+r",
];

const MODES: [u32; 8] = [0o644, 0o755, 0o600, 0o711, 0o400, 0o664, 0o1777, 0o010];

fn trees(stand: &Stand) -> Trees {
    let trees = stand.trees(&["l->nowhere"], &[]);
    for mode in MODES {
        let file = trees.source.join(format!("f{mode:o}"));
        tree::write(&file, b"x");
        tree::set_mode(&file, mode);
        let directory = trees.source.join(format!("d{mode:o}"));
        fs::create_dir(&directory).expect("create");
        tree::set_mode(&directory, mode | 0o700);
    }
    trees
}

fn is_as_rsync(stand: &Stand, trees: &Trees, flags: &[&str], change: &str) {
    let change = format!("--chmod={change}");
    let (ours, theirs) = (stand.trees(&[], &[]), stand.trees(&[], &[]));
    let here = Trees { source: trees.source.clone(), there: ours.there };
    let mut words = flags.to_vec();
    words.push(&change);

    let told = stand.sync(&here, &words).expect_code(0);
    stand::rsync(&["-aH", &change], &here.source, &theirs.there);
    let differences = stand::changes(&theirs.there, &here.there);
    assert!(differences.is_empty(), "{change}: {differences:?}\n{}", told.stderr);
    let before = oracle::survey(&here.there);
    words.push("--json");
    let again = stand.sync(&here, &words).expect_code(0).result();
    assert_eq!(again["entries"]["moved"], 0, "{change}");
    let changed = oracle::differences(&before, &oracle::survey(&here.there));
    assert!(changed.is_empty(), "{change}: {changed:?}");
}

#[test]
fn modes_are_rsyncs() {
    let stand = Stand::new(Side::Here);
    let trees = trees(&stand);
    for change in CHANGES {
        is_as_rsync(&stand, &trees, &[], change);
    }
}

#[test]
fn modes_are_rsyncs_over_ssh() {
    let stand = Stand::new(Side::Ssh);
    let trees = trees(&stand);
    for change in ["D755,F644", "u+rwX,go-w", "a=rX"] {
        is_as_rsync(&stand, &trees, &[], change);
    }
}

/// With the owner, which root alone may set.
#[test]
fn setgid_comes_with_the_owner_alone() {
    let stand = Stand::new(Side::Here);
    let trees = trees(&stand);
    let refused = stand.sync(&trees, &["--chmod", "Dg+s"]).expect_code(2);
    assert!(refused.stderr.contains("exit 2 flags-conflict"), "{}", refused.stderr);
    if is_root(&trees.source) {
        for change in ["Dg+s", "Fug+s", "F4755,o+s", "D2770,F640", "Fg+sx,Fg-s"] {
            is_as_rsync(&stand, &trees, &["--owner"], change);
        }
    }
}

/// What exists with the same content gets the changed mode as well.
#[test]
fn what_is_there_gets_the_mode_too() {
    let stand = Stand::new(Side::Here);
    let (ours, theirs) = (stand.trees(&["a=1", "d/b=2"], &["a=1"]), stand.trees(&[], &["a=1"]));
    stand.sync(&ours, &["--chmod", "F600,D711"]).expect_code(0);
    stand::rsync(&["-aHc", "--chmod=F600,D711"], &ours.source, &theirs.there);
    assert_eq!(stand::changes(&theirs.there, &ours.there), Vec::<String>::new());
}

fn is_root(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).expect("stat").uid() == 0
}
