//! Users against the real engine: each is created once and listed once, whatever happens at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::{User, Users};
use crate::errors::Error;
use crate::paging::{Limit, List};
use crate::testing::{Stack, user};

fn stack() -> Stack {
    let long = std::time::Duration::from_secs(60);
    Stack::start(5, long, long)
}

async fn all(users: &Users, prefix: Option<&str>, limit: u32) -> (Vec<String>, usize) {
    let limit = Limit::new(limit).expect("a limit");
    let (mut names, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        // A cursor holds the prefix that it belongs to. The client may send the prefix again.
        let again = prefix.filter(|_| pages % 2 == 0);
        let page = users.list(&user("admin"), again, limit, cursor.as_deref()).await.expect("a page");
        names.extend(page.items.into_iter().map(|user| user.username));
        pages += 1;
        match page.next {
            Some(next) => cursor = Some(next),
            None => return (names, pages),
        }
    }
}

#[tokio::test]
async fn users_are_listed_by_name_page_by_page_whatever_the_case_of_their_letters() {
    let stack = stack();
    let users = stack.users("rest_api");
    let names = ["bob", "Ann", "ann b", "ann", "Émile", "zoë", "anna", "user-1", "user", "日本"];
    for (number, name) in names.iter().enumerate() {
        users.meet(&user(format!("id-{number}")), name).await.expect("a user");
    }
    let sorted = ["Ann", "ann", "ann b", "anna", "bob", "user", "user-1", "zoë", "Émile", "日本"];
    for limit in [1, 3, 10, 100] {
        let (listed, pages) = all(&users, None, limit).await;
        assert_eq!((listed, pages), (sorted.map(str::to_owned).to_vec(), sorted.len().div_ceil(limit as usize)));
    }
    for (prefix, expected) in [("an", 4), ("ANN", 4), ("ann ", 1), ("é", 1), ("user", 2), ("x", 0), ("", 10)] {
        let (listed, _) = all(&users, Some(prefix), 2).await;
        assert_eq!(listed.len(), expected, "{prefix}: {listed:?}");
    }
}

#[tokio::test]
async fn a_cursor_works_only_for_its_own_list_and_reader() {
    let stack = stack();
    let users = stack.users("rest_api");
    for name in ["ann", "anna", "bob"] {
        users.meet(&user(name), name).await.expect("a user");
    }
    let one = Limit::new(1).expect("a limit");
    let page = users.list(&user("admin"), Some("an"), one, None).await.expect("a page");
    let cursor = page.next.expect("more");
    for (reader, prefix, cursor) in
        [("admin", Some("b"), cursor.as_str()), ("another", Some("an"), cursor.as_str()), ("admin", None, "nonsense")]
    {
        let refused = users.list(&user(reader), prefix, one, Some(cursor)).await;
        assert!(matches!(refused, Err(Error::BadRequest(_))), "{reader} {prefix:?}: {refused:?}");
    }
}

#[tokio::test]
async fn meeting_a_known_user_costs_one_read() {
    let stack = stack();
    let first = stack.users("first").meet(&user("u"), "ann").await.expect("a user");
    stack.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(stack.users("again").meet(&user("u"), "ann").await.expect("a user"), first);
    assert_eq!(stack.calls("again"), [("GetItem".to_owned(), 1)].into());
}

#[tokio::test]
async fn a_user_with_another_name_moves_in_the_directory() {
    let stack = stack();
    let users = stack.users("rest_api");
    let met = users.meet(&user("u"), "ann").await.expect("a user");
    let renamed = users.meet(&user("u"), "Berta").await.expect("a user");
    assert_eq!(renamed, User { username: "Berta".to_owned(), ..met });
    assert_eq!(all(&users, None, 10).await.0, ["Berta"]);
    // This is the same place under another spelling.
    users.meet(&user("u"), "berta").await.expect("a user");
    assert_eq!(all(&users, None, 10).await.0, ["berta"]);
}

#[tokio::test]
async fn a_user_from_before_the_directory_is_listed_when_it_is_met() {
    let stack = stack();
    let users = stack.users("rest_api");
    let met = users.meet(&user("u"), "ann").await.expect("a user");
    stack.forget_attributes("user#u", "me", &["listed_as"]);
    stack.delete("users", "ann\u{1}u");
    assert!(all(&users, None, 10).await.0.is_empty());
    stack.clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(users.meet(&user("u"), "ann").await.expect("a user"), met);
    assert_eq!(all(&users, None, 10).await.0, ["ann"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_times_at_once_all_see_the_same_user_and_list_it_once() {
    let stack = Arc::new(stack());
    let users = stack.users("rest_api");
    let meets = (0..20).map(|number| {
        let (users, stack) = (users.clone(), Arc::clone(&stack));
        tokio::spawn(async move {
            stack.clock.advance(std::time::Duration::from_millis(1));
            users.meet(&user("u"), ["ann", "berta"][number % 2]).await
        })
    });
    let met = join_all(meets.collect::<Vec<_>>()).await;
    let met: Vec<User> = met.into_iter().map(|met| met.expect("no panic").expect("a user")).collect();
    let times: BTreeMap<_, _> = met.iter().map(|user| (user.created_at, user)).collect();
    assert_eq!(times.len(), 1, "{times:?}");
    assert_eq!(all(&users, None, 10).await.0.len(), 1);
}

/// A cursor is not secret, so its owner can make up others.
#[tokio::test]
async fn a_cursor_that_its_owner_made_up_is_one_of_the_list_or_refused() {
    let stack = stack();
    let users = stack.users("rest_api");
    for name in ["ann", "anna", "bob"] {
        users.meet(&user(name), name).await.expect("a user");
    }
    let limit = Limit::new(2).expect("a limit");
    let long = "a".repeat(2000);
    for prefix in ["", "a", "ann", "b", "\u{0}", &long] {
        for at in ["", "a", "ann\u{1}ann", "bob\u{1}bob", "\u{0}", "\u{10ffff}", &long] {
            let cursor = List::of(&user("admin"), "users").cursor(serde_json::json!({ "prefix": prefix, "at": at }));
            match users.list(&user("admin"), None, limit, Some(&cursor)).await {
                Ok(page) => assert!(page.items.iter().all(|user| user.username.starts_with(prefix)), "{prefix} {at}"),
                Err(Error::BadRequest(_)) => {}
                Err(error) => panic!("{prefix:?} {at:?}: {error}"),
            }
        }
    }
}
