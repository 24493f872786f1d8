//! What is told as durable, and what is not.

use xfer_protocol::fault::Operation;

use super::super::roots;
use super::*;

/// A directory that cannot be synced: what stands under its name is none.
fn obstruct(lab: &Lab, on_root_device: bool) -> Arc<roots::OpenRoot> {
    std::fs::write(lab.at("obstacle"), b"").unwrap();
    let root = lab.endpoint.shared.root(lab.root, Operation::Sync).unwrap();
    root.touch(&rel("obstacle"), on_root_device);
    root
}

async fn finishes(lab: &Lab) -> bool {
    lab.endpoint.finish(Finish { root: lab.root, durable: true }).await.is_ok()
}

/// A failed sync that no file's outcome tells of is told at the end.
#[tokio::test]
async fn a_directory_that_was_not_synced_is_not_forgotten() {
    let lab = Lab::on("/tmp").await;
    obstruct(&lab, true);
    lab.pack(vec![packed(1, "directory/file", b"bytes")], b"bytes").await;
    assert!(lab.publish(true).await[0].result.is_ok());
    assert!(!finishes(&lab).await);
    assert!(!finishes(&lab).await);
}

/// One sync stands for many directories, but not for those on another file system.
#[tokio::test]
async fn a_directory_elsewhere_is_synced_by_itself() {
    for (elsewhere, is_reached) in [(true, true), (false, false)] {
        let lab = Lab::on("/tmp").await;
        let root = obstruct(&lab, !elsewhere);
        for number in 0..100 {
            let name = format!("directory-{number}");
            std::fs::create_dir(lab.at(&name)).unwrap();
            root.touch(&rel(&name), true);
        }
        assert_eq!(finishes(&lab).await, !is_reached);
    }
}

#[tokio::test]
async fn a_mount_below_the_root_is_elsewhere() {
    let Some(mount) = faults::Mounted::memory("size=1m") else { return };
    let lab = Lab::on("/tmp").await;
    std::fs::create_dir_all(lab.at("mount")).unwrap();
    let _bound = mount.bind(&lab.at("mount"));
    let whole = pattern(MIB / 2);
    lab.open_partial(1, "mount/made/large", MIB / 2).await;
    lab.write(1, &whole, range(0, MIB / 2)).await.unwrap();
    lab.commit(1, &whole).await.unwrap();
    lab.pack(vec![packed(2, "mount/small", b"bytes")], b"bytes").await;
    lab.pack(vec![packed(3, "here/small", b"bytes")], b"bytes").await;
    assert!(lab.publish(false).await.iter().all(|outcome| outcome.result.is_ok()));
    let root = lab.endpoint.shared.root(lab.root, Operation::Sync).unwrap();
    {
        let touched = guard(&root.touched);
        assert!(touched.elsewhere.iter().eq([&rel("mount"), &rel("mount/made")]));
        assert!(touched.directories.iter().eq([&RelPath::root(), &rel("here")]));
    }
    lab.scan().await;
    assert!(root.found_elsewhere().eq([rel("mount")]));
}

/// What somebody put in a partial's place is not published as what was proven.
#[tokio::test]
async fn a_partial_that_was_replaced_is_not_published() {
    let lab = Lab::on("/tmp").await;
    let whole = pattern(MIB);
    lab.open_partial(1, "file", MIB).await;
    lab.write(1, &whole, range(0, MIB)).await.unwrap();
    lab.commit(1, &whole).await.unwrap();
    let partial = lab.at(std::str::from_utf8(&crate::disk::partial_name(b"file")).unwrap());
    // Not at once: a file system may give the same number again.
    std::fs::rename(&partial, lab.at("kept")).unwrap();
    std::fs::write(&partial, b"another's").unwrap();
    let outcome = lab.publish(true).await.remove(0);
    assert_eq!(outcome.result.unwrap_err().kind, FaultKind::Busy);
    assert!(!lab.at("file").exists());
}

/// A name on another file system is copied then, and the copy goes on from what was received of it.
#[tokio::test]
async fn a_link_that_cannot_be_made_leaves_the_partial_alone() {
    let Some(mount) = faults::Mounted::memory("size=4m") else { return };
    let lab = Lab::on("/tmp").await;
    std::fs::create_dir_all(lab.at("mount")).unwrap();
    let _bound = mount.bind(&lab.at("mount"));
    for name in ["first", "mount/old"] {
        std::fs::write(lab.at(name), b"").unwrap();
    }
    for (index, name) in [(1, "old"), (2, "new")] {
        let path = format!("mount/{name}");
        lab.open_partial(index, &path, MIB).await;
        let metadata = metadata();
        let kind = NewKind::HardLink { of: rel("first") };
        let entry = NewEntry { ticket: Ticket(index), path: rel(&path), kind, metadata };
        let create = Create { root: lab.root, entries: vec![entry] };
        let outcome = lab.endpoint.create(create).await.unwrap().remove(0);
        assert_eq!(outcome.result.unwrap_err().kind, FaultKind::Unsupported);
        let partial = crate::disk::partial_name(name.as_bytes());
        let partial = format!("mount/{}", std::str::from_utf8(&partial).unwrap());
        assert!(lab.at(&partial).exists(), "{name}");
    }
}
