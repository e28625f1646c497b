//! What becomes of accounts, orders and certificates when they cannot be kept, and of those under way
//! when we start anew.

use std::{fs, os, path::PathBuf, time::Duration};

use tokio::time::{advance, timeout};

use super::{Alone, authority::Authority, node};

const MINUTE: Duration = Duration::from_secs(60);

/// A folder in which nothing is, and nothing can be made until it is mended.
struct Faulty(PathBuf);

impl Faulty {
    fn at(alone: &Alone, key: &str) -> Self {
        let path = alone.folder.path().join(alone.resolver.desk.place(key));
        let path: PathBuf = path.components().collect();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // It leads nowhere.
        os::unix::fs::symlink(alone.folder.path().join("nowhere"), &path).unwrap();
        Self(path)
    }

    fn mend(self) {
        fs::remove_file(&self.0).unwrap();
        fs::create_dir(&self.0).unwrap();
    }
}

/// How many files are in a folder.
fn files(alone: &Alone, key: &str) -> usize {
    let folder = alone.folder.path().join(alone.resolver.desk.place(key));
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test(start_paused = true)]
async fn no_account_is_made_that_could_not_be_kept() {
    let authority = Authority::new();
    let mut alone = node(authority.fetch());
    let storage = Faulty::at(&alone, "");
    alone.want(&["a.test", "b.test"]);
    for _ in 0..4 {
        alone.turn().await;
    }
    assert!(alone.problem().contains("storage: make"), "{}", alone.problem());
    assert_eq!(authority.asked("/account"), 0);

    storage.mend();
    advance(MINUTE).await;
    alone.turn().await;
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.asked("/account")), (2, 1));
    alone.restart(authority.fetch());
    alone.want(&["c.test"]);
    alone.turn().await;
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.asked("/account")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_start_in_the_middle_of_an_order_goes_on_with_it() {
    for (lost, made) in [("/authorization", "pending"), ("/finalize", "ready"), ("/chain", "ready")]
    {
        let authority = Authority::new();
        authority.plan().made = made;
        authority.plan().lost = Some(lost);
        let mut alone = node(authority.fetch());
        alone.want(&["a.test"]);
        alone.turn().await;
        assert!(timeout(MINUTE / 4, alone.turn()).await.is_err(), "{lost}");

        authority.plan().lost = None;
        if made == "pending" {
            authority.decide("ready");
        }
        alone.restart(authority.fetch());
        alone.want(&["a.test"]);
        alone.turn().await;
        alone.turn().await;
        assert_eq!((alone.shown().len(), authority.orders()), (1, 1), "{lost}");
        assert_eq!(authority.asked("/finalize"), 1, "{lost}");
        assert_eq!(files(&alone, "orders"), 0, "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_cannot_be_kept_is_shown_and_told_and_kept_later() {
    let authority = Authority::new();
    let mut alone = node(authority.fetch());
    let certificates = Faulty::at(&alone, "certificates");
    alone.want(&["a.test"]);
    // The second one starts anew.
    for _ in 0..2 {
        alone.turn().await;
        alone.turn().await;
        assert_eq!((alone.shown().len(), authority.orders()), (1, 1));
        assert!(alone.problem().contains("`a.test` cannot be kept: make"), "{}", alone.problem());
        assert!(alone.left() <= MINUTE);
        advance(MINUTE).await;
        alone.turn().await;
        assert!(alone.problem().contains("cannot be kept"), "still");
        alone.resolver.doubt();
        alone.turn().await;
        assert!(alone.problem().contains("cannot be kept"), "that it is shown is not enough");
        alone.restart(authority.fetch());
        alone.want(&["a.test"]);
    }
    alone.turn().await;
    alone.turn().await;
    certificates.mend();
    advance(MINUTE).await;
    alone.turn().await;
    assert_eq!(alone.problems(), "");
    assert_eq!((files(&alone, "certificates"), files(&alone, "orders")), (1, 0));
    assert!(alone.left() > MINUTE * 60 * 24 * 50, "{:?}", alone.left());
    alone.restart(authority.fetch());
    alone.want(&["a.test"]);
    alone.turn().await;
    assert_eq!((alone.shown().len(), authority.orders()), (1, 1));
}
