//! What a directory's default access list does to the files that arrive in it.

use std::os::unix::fs::PermissionsExt;

use rustix::fs::XattrFlags;

use super::*;

/// A POSIX access list without named users: what the owner, the group and others may.
fn access_list(owner: u8, group: u8, others: u8) -> Vec<u8> {
    let mut list = vec![2, 0, 0, 0];
    for (tag, may) in [(1, owner), (4, group), (32, others)] {
        list.extend([tag, 0, may, 0, 255, 255, 255, 255]);
    }
    list
}

#[tokio::test]
async fn a_default_access_list_takes_nothing_from_a_mode() {
    for parent in ["/tmp", "/dev/shm"] {
        let lab = Lab::on(parent).await;
        let list = access_list(7, 0, 0);
        let name = "system.posix_acl_default";
        rustix::fs::setxattr(lab.directory.path(), name, &list, XattrFlags::empty()).unwrap();
        lab.pack(vec![packed(1, "staged", b"staged")], b"staged").await;
        lab.open_partial(2, "large", 2 * MIB).await;
        let whole = pattern(2 * MIB);
        lab.write(2, &whole, range(0, 2 * MIB)).await.unwrap();
        lab.commit(2, &whole).await.unwrap();
        lab.publish(true).await;
        let files = vec![packed(3, "at-once", b"at once")];
        let pack = WritePack { root: lab.root, files, publish: true };
        lab.endpoint.write_pack(pack, Bytes::from_static(b"at once")).await.unwrap();
        for name in ["staged", "large", "at-once"] {
            let mode = std::fs::metadata(lab.at(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, metadata().mode, "{name} on {parent}");
        }
    }
}
