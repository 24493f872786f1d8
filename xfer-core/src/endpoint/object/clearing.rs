//! Removing all that lies below a directory of a bucket, which nobody but this transfer writes:
//! objects, and parts of what has not become one.

use futures_util::{StreamExt, TryStreamExt};

use super::keys::key_of;
use super::locate::typed;
use super::store::{Key, List, Store, StoreError, StoreResult};

/// Removals that are under way at a time.
const REMOVALS_AT_ONCE: usize = 16;

/// Removes every object below a directory, which is not the top of the bucket, and aborts every
/// upload there.
///
/// # Errors
/// What the store says; what is removed by then stays removed.
pub(crate) async fn clear(store: &dyn Store, directory: &[u8]) -> StoreResult<()> {
    let path = typed(directory).filter(|path| !path.is_root());
    let key = path.and_then(|path| key_of("", &path).ok());
    let key = key.ok_or_else(|| StoreError::Failed("no directory of a bucket".to_owned()))?;
    let prefix = format!("{}/", key.as_str());
    abort_uploads(store, &prefix).await?;
    let mut last: Option<String> = None;
    loop {
        // Some stores lose their place in a list whose objects go meanwhile.
        let list = List { prefix: &prefix, folded: false, page: None, most: 1000 };
        let page = store.list(list).await?;
        let mut keys = Vec::with_capacity(page.objects.len());
        for listed in page.objects {
            let key = Key::new(listed.key).filter(|key| key.as_str().starts_with(&prefix));
            keys.push(key.ok_or_else(|| StoreError::Nonsense("a key elsewhere".to_owned()))?);
        }
        let Some(first) = keys.first().map(|key| key.as_str().to_owned()) else { return Ok(()) };
        if last.as_ref() == Some(&first) {
            return Err(StoreError::Failed("what was removed is still there".to_owned()));
        }
        last = Some(first);
        let removals = futures_util::stream::iter(keys.iter().map(|key| store.remove(key)));
        removals.buffer_unordered(REMOVALS_AT_ONCE).try_collect::<()>().await?;
    }
}

/// What a killed process left unfinished is billed, and found by nobody else.
async fn abort_uploads(store: &dyn Store, prefix: &str) -> StoreResult<()> {
    let uploads = match store.uploads(prefix).await {
        Ok(uploads) => uploads,
        // The store has none that last, or does not tell: then nothing more can be done.
        Err(StoreError::Unsupported | StoreError::Denied(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    for upload in uploads {
        let Some(key) = Key::new(upload.key).filter(|key| key.as_str().starts_with(prefix)) else {
            continue;
        };
        match store.abort(&key, &upload.id).await {
            Ok(()) | Err(StoreError::Missing) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::store::memory::MemoryBucket;
    use super::super::store::{Checksum, Condition, Put};
    use super::super::sums::crc;
    use super::*;

    #[tokio::test]
    async fn what_lies_beside_it_stays() {
        let bucket = MemoryBucket::new("bucket");
        let names = ["way/a", "way/b/c", "way%41/x", "ways/a", "way", "other"];
        for name in names {
            let key = Key::new(name).unwrap();
            let body = Bytes::from_static(b"x");
            let checksum = Checksum::Crc64Nvme(crc(&body));
            let condition = Condition::Always;
            let put = Put { key: &key, body: body.into(), attributes: &[], checksum, condition };
            bucket.put(put).await.unwrap();
        }
        for name in ["way/c", "way/b/d", "ways/c"] {
            bucket.begin(&Key::new(name).unwrap(), &[]).await.unwrap();
        }
        for nothing in [&b"/"[..], b"", b"/../x"] {
            assert!(clear(&bucket, nothing).await.is_err());
        }
        clear(&bucket, b"/way/").await.unwrap();
        let list = List { prefix: "", folded: false, page: None, most: 1000 };
        let left = bucket.list(list).await.unwrap().objects;
        let left: Vec<_> = left.into_iter().map(|listed| listed.key).collect();
        assert_eq!(left, ["other", "way", "way%41/x", "ways/a"]);
        let uploads = bucket.uploads("").await.unwrap();
        let uploads: Vec<_> = uploads.into_iter().map(|upload| upload.key).collect();
        assert_eq!(uploads, ["ways/c"]);
    }
}
