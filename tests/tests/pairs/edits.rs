//! Edits of a tree, one after the other

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use xfer_tests::tree;

use crate::grow::Grower;
use crate::index;

/// Makes so many edits below a root
pub(crate) fn edit(root: &Path, count: u64, grower: &mut Grower) {
    for _ in 0..count {
        match grower.random.below(20) {
            0..=7 => edit_content(root, grower),
            8 => remove(root, grower),
            9..=11 => grower.entry(root),
            12..=13 => rename(root, grower),
            14 => change_mode(root, grower),
            15 => replace_by_another_kind(root, grower),
            16 => duplicate(root, grower),
            17 => part(root, grower),
            18 => exchange(root, grower),
            _ => {
                if let Some(at) = grower.any(root, |_| true) {
                    grower.time(&at);
                }
            }
        }
    }
}

fn edit_content(root: &Path, grower: &mut Grower) {
    let Some(at) = grower.any_file(root) else { return };
    let facts = fs::metadata(&at).expect("stat");
    let mut bytes = fs::read(&at).expect("read");
    let length = bytes.len();
    let place = index(&mut grower.random, length + 1);
    let some = 1 + index(&mut grower.random, 5000);
    match grower.random.below(6) {
        0 => drop(bytes.splice(place..place, grower.random.bytes(some))),
        1 => drop(bytes.drain(place..length.min(place + some))),
        2 => bytes.extend(grower.random.bytes(some)),
        3 if length > 0 => {
            // Nothing but its content and its change time tells that it is another one.
            let place = place.min(length - 1);
            tree::flip_byte(&at, place as u64);
            return;
        }
        4 => {
            let file = OpenOptions::new().write(true).open(&at).expect("open");
            return file.set_len((place + some / 2) as u64).expect("cut or grow");
        }
        _ => {
            let file = OpenOptions::new().write(true).open(&at).expect("open");
            let bytes = grower.random.bytes(some);
            return file.write_all_at(&bytes, place as u64).expect("overwrite");
        }
    }
    if grower.random.happens(0.5) {
        return tree::write(&at, &bytes);
    }
    // As careful programs do it: its other names keep what they had.
    let aside = grower.free_name(root);
    tree::write(&aside, &bytes);
    tree::set_mode(&aside, facts.permissions().mode() & 0o7777);
    fs::rename(aside, at).expect("rename");
}

fn remove(root: &Path, grower: &mut Grower) {
    if let Some(at) = grower.any(root, |_| true) {
        remove_at(&at);
    }
}

fn remove_at(at: &Path) {
    let removed = match at.symlink_metadata().expect("stat").is_dir() {
        true => fs::remove_dir_all(at),
        false => fs::remove_file(at),
    };
    removed.expect("remove");
}

fn rename(root: &Path, grower: &mut Grower) {
    let Some(from) = grower.any(root, |_| true) else { return };
    let to = grower.free_name(root);
    if !to.starts_with(&from) {
        fs::rename(from, to).expect("rename");
    }
}

fn change_mode(root: &Path, grower: &mut Grower) {
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|facts| facts.is_symlink());
    if let Some(at) = grower.any(root, |path| !is_link(path)) {
        let bits = u32::try_from(grower.random.below(0o1000)).expect("small");
        tree::set_mode(&at, bits);
    }
}

fn replace_by_another_kind(root: &Path, grower: &mut Grower) {
    let Some(at) = grower.any(root, |_| true) else { return };
    let facts = at.symlink_metadata().expect("stat");
    remove_at(&at);
    match (facts.is_dir(), grower.random.below(2)) {
        (true, 0) => grower.file(&at),
        (true, _) => grower.link(&at),
        (false, 0) if !facts.is_symlink() => grower.link(&at),
        (false, 0) => grower.file(&at),
        (false, _) => {
            fs::create_dir(&at).expect("make a directory");
            grower.file(&at.join("inside"));
        }
    }
}

/// The same content once more, and the same time now and then
fn duplicate(root: &Path, grower: &mut Grower) {
    let Some(from) = grower.any_file(root) else { return };
    let to = grower.free_name(root);
    fs::copy(&from, &to).expect("copy");
    if grower.random.happens(0.5) {
        let modified = fs::metadata(&from).and_then(|facts| facts.modified()).expect("stat");
        let file = OpenOptions::new().write(true).open(to).expect("open");
        file.set_modified(modified).expect("set the time");
    }
}

/// A file of its own where there was one more name of another
fn part(root: &Path, grower: &mut Grower) {
    use std::os::unix::fs::MetadataExt;
    let has_names = |path: &Path| {
        path.symlink_metadata().is_ok_and(|facts| facts.is_file() && facts.nlink() > 1)
    };
    let Some(at) = grower.any(root, |path| has_names(path)) else { return };
    let bytes = fs::read(&at).expect("read");
    fs::remove_file(&at).expect("remove");
    tree::write(&at, &bytes);
}

/// Two entries change places, as two checkpoints do
fn exchange(root: &Path, grower: &mut Grower) {
    let Some(one) = grower.any_file(root) else { return };
    let Some(other) = grower.any_file(root) else { return };
    let aside = grower.free_name(root);
    for (from, to) in [(&one, &aside), (&other, &one), (&aside, &other)] {
        // The second is the first where chance chose one file twice.
        let _gone = fs::rename(from, to);
    }
}
