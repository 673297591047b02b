//! Visitors of a site, one for each name server, who look all the time and note when what they see
//! changes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dns_failover::SiteId;
use dns_failover::decision::Timestamp;

use super::names::{Names, SERVERS};
use super::{HILL, clock, web};

/// How long a visitor rests between two looks.
const REST: Duration = Duration::from_millis(20);

/// What one visitor saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Where the name server sent it.
    pub(super) sent_to: Option<SiteId>,
    /// Whether a page came from there.
    pub(super) page: bool,
}

/// What each saw and since when, as far as it changed.
type Looks = [Mutex<Vec<(Timestamp, Look)>>; SERVERS];

/// The visitors, until this is dropped.
#[derive(Debug)]
pub(super) struct Visitors {
    looks: Arc<Looks>,
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Visitors {
    /// They begin to look.
    pub(super) fn start(names: &Arc<Names>, web: [SocketAddr; 2]) -> Visitors {
        let looks: Arc<Looks> = Arc::new(std::array::from_fn(|_| Mutex::new(Vec::new())));
        let ending = Arc::new(AtomicBool::new(false));
        let mut visitors =
            Visitors { looks: looks.clone(), ending: ending.clone(), threads: Vec::new() };
        for server in 0..SERVERS {
            let (names, looks, ending) = (names.clone(), looks.clone(), ending.clone());
            visitors.threads.push(thread::spawn(move || {
                let looks: &Looks = &looks;
                while !ending.load(Ordering::SeqCst) {
                    let look = look(&names, server, web);
                    // It holds from when it was over, never from before.
                    let now = clock::now();
                    let mut looks = lock(&looks[server]);
                    if looks.last().is_none_or(|(_, last)| *last != look) {
                        looks.push((now, look));
                    }
                    drop(looks);
                    thread::sleep(REST);
                }
            }));
        }
        visitors
    }

    /// What the visitor who asks this name server saw last.
    pub(super) fn last(&self, server: usize) -> Option<Look> {
        lock(&self.looks[server]).last().map(|(_, look)| *look)
    }

    /// When the one who asks this name server first saw something like that after an instant.
    pub(super) fn first_after(
        &self,
        server: usize,
        instant: Timestamp,
        like: impl Fn(Look) -> bool,
    ) -> Option<Timestamp> {
        let looks = lock(&self.looks[server]);
        looks.iter().find(|(at, look)| *at >= instant && like(*look)).map(|(at, _)| *at)
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic was told when it happened.
            let _ = thread.join();
        }
    }
}

fn look(names: &Names, server: usize, web: [SocketAddr; 2]) -> Look {
    let host = format!("www.{HILL}");
    let sent_to = names.resolve(server, &host);
    let page = sent_to.is_some_and(|site| {
        let answer = web::ask(web[site as usize], "GET", &host, "/", b"");
        answer.is_ok_and(|(status, _)| status == 200)
    });
    Look { sent_to, page }
}
