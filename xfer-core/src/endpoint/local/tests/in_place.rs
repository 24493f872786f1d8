//! Files that are written over what they replace, and other hands.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

const SIZE: u64 = 3 * MIB;

/// A sink with `file`, opened in place as partial 1.
async fn opened(parent: &str, size: u64) -> (Lab, Vec<u8>) {
    let lab = Lab::on(parent).await;
    let old = pattern(SIZE);
    fs::write(lab.at("file"), &old).unwrap();
    fs::set_permissions(lab.at("file"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(over(&lab, size).await.in_place);
    (lab, old)
}

async fn over(lab: &Lab, size: u64) -> Partial {
    let (root, over) = (lab.root, Some(lab.stamp("file")));
    let open = OpenPartial { partial: PartialIndex(1), root, path: rel("file"), size, over };
    lab.endpoint.open_partial(open).await.unwrap()
}

async fn hash(lab: &Lab, reading: Reading) -> Digests {
    let (subject, range) = (Subject::Partial(PartialIndex(1)), range(0, 2 * MIB));
    let hash = HashBlocks { subject, range, block: BlockSize::MIN, reading };
    lab.endpoint.hash_blocks(hash).await.unwrap()
}

/// Bytes that were proven are no longer what they were.
#[tokio::test]
async fn what_others_do_to_it_stays() {
    type Hand = fn(&Lab);
    let append: Hand = |lab| {
        let mut file = fs::File::options().append(true).open(lab.at("file")).unwrap();
        file.write_all(b"another's").unwrap();
    };
    let link: Hand = |lab| fs::hard_link(lab.at("file"), lab.at("other")).unwrap();
    let chmod: Hand = |lab| {
        fs::set_permissions(lab.at("file"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let replace: Hand = |lab| {
        fs::write(lab.at("new"), b"another's").unwrap();
        fs::rename(lab.at("new"), lab.at("file")).unwrap();
    };
    for hand in [append, link, chmod, replace] {
        let (lab, old) = opened("/tmp", SIZE).await;
        hash(&lab, Reading::Cached).await;
        let keep = Keep { partial: PartialIndex(1), ranges: vec![range(0, 2 * MIB)] };
        lab.endpoint.keep(keep).await.unwrap();
        hand(&lab);
        let (stamp, content) = (lab.stamp("file"), fs::read(lab.at("file")).unwrap());
        let mut new = old;
        new[2 * MIB as usize] ^= 1;
        let failure = lab.write(1, &new, range(2 * MIB, SIZE)).await.unwrap_err();
        assert_eq!(kind(failure), FaultKind::Changed);
        assert_eq!(lab.stamp("file"), stamp);
        assert_eq!(fs::read(lab.at("file")).unwrap(), content);
    }
}

/// What the cache says of it may be what a failed sync lost.
#[tokio::test]
async fn what_was_begun_is_read_from_the_medium() {
    for parent in ["/tmp", "/dev/shm"] {
        let (lab, mut new) = opened(parent, SIZE).await;
        assert!(!hash(&lab, Reading::Cached).await.past_cache);
        new[0] ^= 1;
        lab.write(1, &new, range(0, MIB)).await.unwrap();
        assert!(!lab.at("file").exists());
        let lab = lab.later().await;
        assert!(lab.open_partial(1, "file", SIZE).await.in_place);
        assert_eq!(hash(&lab, Reading::Cached).await.past_cache, parent == "/tmp");
    }
}

/// What cannot be as long as the new file stays the old one.
pub(super) async fn is_given_back_under_a_limit_of_one_mebibyte() {
    let lab = Lab::on("/dev/shm").await;
    let old = pattern(MIB / 2);
    fs::write(lab.at("file"), &old).unwrap();
    fs::set_permissions(lab.at("file"), fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(lab.at("file")).unwrap();
    assert!(over(&lab, 2 * MIB).await.in_place);
    for _ in 0..2 {
        let failure = lab.write(1, &pattern(2 * MIB), range(0, MIB / 4)).await.unwrap_err();
        assert_eq!(kind(failure), FaultKind::FileTooLarge);
        let now = fs::metadata(lab.at("file")).unwrap();
        assert_eq!((now.ino(), now.mode()), (before.ino(), before.mode()));
        assert_eq!(fs::read(lab.at("file")).unwrap(), old);
        assert_eq!(lab.names(), ["file"]);
    }
}
