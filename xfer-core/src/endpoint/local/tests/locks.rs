//! Two sessions, one destination.

use super::*;

async fn lock(lab: &Lab, entries: &[&str]) -> EndpointResult<()> {
    let entries = entries.iter().map(|entry| rel(entry)).collect();
    lab.endpoint.lock(Lock { root: lab.root, entries }).await
}

/// One more session on a lab's directory, or on one below it.
async fn other(lab: &Lab, below: &str) -> (LocalEndpoint, RootIndex) {
    let endpoint = LocalEndpoint::new(LocalOptions::default());
    let root = open(&endpoint, &lab.at(below), Access::Write).await.index;
    (endpoint, root)
}

async fn is_busy(at: &(LocalEndpoint, RootIndex), entry: &str) -> bool {
    let request = Lock { root: at.1, entries: vec![rel(entry)] };
    match at.0.lock(request).await {
        Ok(()) => false,
        Err(error) => kind(error) == FaultKind::Busy,
    }
}

#[tokio::test]
async fn directories_are_locked_with_what_is_below() {
    let lab = Lab::on("/tmp").await;
    std::fs::create_dir_all(lab.at("a/b")).unwrap();
    std::fs::create_dir(lab.at("c")).unwrap();
    lock(&lab, &["a"]).await.unwrap();
    lock(&lab, &["a"]).await.unwrap();
    let beside = other(&lab, "").await;
    assert!(is_busy(&beside, "a").await);
    assert!(is_busy(&beside, "a/b").await);
    assert!(!is_busy(&beside, "c").await);
    assert!(is_busy(&other(&lab, "").await, "").await);
    // Into the very directory.
    assert!(is_busy(&other(&lab, "a").await, "x").await);
    lab.finish().await;
    assert!(!is_busy(&other(&lab, "").await, "a").await);
    assert_eq!(lab.names(), ["a", "c"]);
}

#[tokio::test]
async fn a_directory_that_is_made_later_is_locked_when_it_is_made() {
    let lab = Lab::on("/tmp").await;
    lock(&lab, &["new"]).await.unwrap();
    let beside = other(&lab, "").await;
    assert!(!is_busy(&beside, "new").await);
    let make = |root| {
        let (kind, metadata) = (NewKind::Directory, metadata());
        let entry = NewEntry { ticket: Ticket(1), path: rel("new"), kind, metadata };
        Create { root, entries: vec![entry] }
    };
    assert!(lab.endpoint.create(make(lab.root)).await.unwrap()[0].result.is_ok());
    assert!(is_busy(&other(&lab, "").await, "new").await);
    let late = beside.0.create(make(beside.1)).await.unwrap();
    assert_eq!(late[0].result.clone().unwrap_err().kind, FaultKind::Busy);
}

#[tokio::test]
async fn a_file_is_locked_by_its_partial() {
    let lab = Lab::on("/tmp").await;
    lock(&lab, &["file", "other"]).await.unwrap();
    lab.open_partial(1, "file", MIB).await;
    let beside = other(&lab, "").await;
    assert!(is_busy(&beside, "file").await);
    assert!(!is_busy(&beside, "other").await);
    let open = OpenPartial {
        partial: PartialIndex(1),
        root: beside.1,
        path: rel("file"),
        size: MIB,
        over: None,
    };
    assert_eq!(kind(beside.0.open_partial(open).await.unwrap_err()), FaultKind::Busy);
    // A small file, staged but not published.
    lab.pack(vec![packed(7, "other", b"mine")], b"mine").await;
    let pack =
        WritePack { root: beside.1, files: vec![packed(8, "other", b"their")], publish: true };
    let outcomes = beside.0.write_pack(pack, Bytes::from_static(b"their")).await.unwrap();
    assert_eq!(outcomes[0].result.clone().unwrap_err().kind, FaultKind::Busy);
    lab.publish(true).await;
    assert_eq!(std::fs::read(lab.at("other")).unwrap(), b"mine");
}

#[tokio::test]
async fn partials_of_others_are_not_removed() {
    let lab = Lab::on("/tmp").await;
    lab.open_partial(1, "file", MIB).await;
    let beside = other(&lab, "").await;
    let partial = rel(&lab.names()[0]);
    let paths = Paths { root: beside.1, paths: vec![partial, rel("gone/.x")] };
    let wrong = beside.0.remove_partials(paths.clone()).await;
    assert!(wrong.is_ok(), "what is in a directory that is gone is gone");
    assert_eq!(lab.names().len(), 1);
    lab.endpoint.close().await;
    beside.0.remove_partials(paths).await.unwrap();
    assert_eq!(lab.names(), [""; 0]);
    std::fs::write(lab.at("precious"), b"x").unwrap();
    let paths = Paths { root: beside.1, paths: vec![rel("precious")] };
    assert_eq!(kind(beside.0.remove_partials(paths).await.unwrap_err()), FaultKind::Protocol);
}
