//! What servers serve now.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, Scope};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Job, Publisher, Session};
use crate::epoch::EpochRecord;
use crate::name::Name;
use crate::rdata::RecordType;
use crate::record::{Record, Ttl};
use crate::rrset::RRset;
use crate::serial::Serial;
use crate::topology::{NAME_SERVERS, NameServer};
use crate::wire::{self, Message, Rcode, Trouble};

/// What a server says of a zone: three answers that identify its whole content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The serial.
    pub serial: Option<Serial>,
    /// The epoch, when the zone is one of ours.
    pub record: Option<EpochRecord>,
    /// The record that it is written in.
    #[serde(skip)]
    pub(super) epoch: Option<RRset>,
    /// The digest of the zone.
    #[serde(skip)]
    pub(super) digest: Option<RRset>,
}

impl View {
    /// Whether this is the zone at that epoch with that digest.
    pub(super) fn is_at(&self, record: EpochRecord, digest: &RRset) -> bool {
        let same = |found: &RRset| found.rdatas() == digest.rdatas();
        self.record == Some(record)
            && self.serial == Some(record.epoch.serial())
            && self.digest.as_ref().is_some_and(same)
    }
}

/// What all servers say of one zone, none where a server does not serve it by design.
pub(super) type Views = [Option<Result<View, Trouble>>; NAME_SERVERS];

/// What one server says of all zones, in the order of the jobs.
pub(super) type Column = Vec<Option<Result<View, Trouble>>>;

/// After half of the servers have answered, the others are waited for as long as they go on coming in
/// with less than this between them: a name server across the world takes two round trips.
const GRACE: Duration = Duration::from_millis(500);

/// What the quick servers say, and where the slow ones will.
pub(super) struct Early {
    /// Zone by zone. A server that is waited for no longer counts as out of reach here.
    pub(super) views: Vec<Views>,
    /// By the index of the server, what it says once it has said it.
    pub(super) late: BTreeMap<usize, Receiver<Column>>,
}

impl Publisher<'_> {
    /// Asks all servers at once, and does not wait long for those that are slower than half of them: what
    /// is dead is so until a timeout, and must not keep the living from being told.
    pub(super) fn survey_early<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        jobs: &[Job],
    ) -> Early {
        let (done, some_done) = mpsc::channel();
        let mut columns: BTreeMap<usize, Receiver<Column>> = BTreeMap::new();
        for (index, server) in self.topology.name_servers().iter().enumerate() {
            let served: Vec<Option<Name>> = jobs
                .iter()
                .map(|job| job.servers[index].is_some().then(|| job.name.clone()))
                .collect();
            let (say, column) = mpsc::channel();
            columns.insert(index, column);
            let done = done.clone();
            scope.spawn(move || {
                let column = self.ask(server, &served);
                let answers = column.iter().flatten().any(Result::is_ok);
                // Whoever asked may have gone on without it.
                let _ = say.send(column);
                let _ = done.send((index, answers));
            });
        }
        drop(done);
        let mut asked: [Option<std::vec::IntoIter<_>>; NAME_SERVERS] = Default::default();
        let mut answering = 0;
        while !columns.is_empty() {
            let patience = if answering * 2 >= NAME_SERVERS { GRACE } else { Duration::MAX };
            let (index, answers) = match some_done.recv_timeout(patience) {
                Ok(done) => done,
                Err(RecvTimeoutError::Timeout) => break,
                // One that panicked has said nothing; its scope tells.
                Err(RecvTimeoutError::Disconnected) => break,
            };
            answering += usize::from(answers);
            let column = columns.remove(&index).and_then(|column| column.recv().ok());
            asked[index] = column.map(Vec::into_iter);
        }
        let not_yet = |job: &Job, index: usize| {
            let why = "it has not answered yet".to_owned();
            job.servers[index].is_some().then_some(Err(Trouble::Unreachable { why }))
        };
        let view = |job: &Job, index: usize| match &mut asked[index] {
            Some(column) => column.next().flatten(),
            None => not_yet(job, index),
        };
        let mut view = view;
        let views = jobs.iter().map(|job| std::array::from_fn(|index| view(job, index)));
        let views = views.collect();
        Early { views, late: columns }
    }

    pub(super) fn survey(&self, jobs: &[Job]) -> Vec<Views> {
        let columns = thread::scope(|scope| {
            let servers = self.topology.name_servers().iter().enumerate();
            let threads = servers
                .map(|(index, server)| scope.spawn(move || self.column(index, server, jobs)));
            let threads: Vec<_> = threads.collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(column) => column,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Vec<_>>()
        });
        let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
        jobs.iter().map(|_| std::array::from_fn(|index| columns[index].next().flatten())).collect()
    }

    pub(super) fn column(&self, index: usize, server: &NameServer, jobs: &[Job]) -> Column {
        let served = |job: &Job| job.servers[index].is_some().then(|| job.name.clone());
        self.ask(server, &jobs.iter().map(served).collect::<Vec<_>>())
    }

    /// Asks one server for these zones; for none where it does not serve one by design.
    fn ask(&self, server: &NameServer, served: &[Option<Name>]) -> Column {
        let names: Vec<&Name> = served.iter().flatten().collect();
        let views = match Session::open(self.network, server) {
            Ok(mut session) => look(&mut session, &names),
            Err(trouble) => vec![Err(trouble); names.len()],
        };
        let mut views = views.into_iter();
        served.iter().map(|name| name.as_ref().and_then(|_| views.next())).collect()
    }
}

/// Asks a server for what identifies each of these zones.
pub(super) fn look(session: &mut Session<'_>, zones: &[&Name]) -> Vec<Result<View, Trouble>> {
    let questions = zones.iter().flat_map(|zone| {
        let epoch = zone.child(EpochRecord::LABEL).unwrap_or_else(|_| Name::root());
        [
            wire::question(zone, RecordType::SOA),
            wire::question(&epoch, RecordType::TXT),
            wire::question(zone, RecordType::ZONEMD),
        ]
    });
    let mut replies = session.ask(questions.collect()).into_iter();
    let mut next = || replies.next().unwrap_or(Err(Trouble::Unreachable { why: String::new() }));
    zones.iter().map(|zone| view(zone, [next(), next(), next()])).collect()
}

fn view(zone: &Name, replies: [Result<Message, Trouble>; 3]) -> Result<View, Trouble> {
    let [soa, epoch, digest] = replies;
    let soa = answer(zone, RecordType::SOA, &soa?)?;
    let label = zone.child(EpochRecord::LABEL).unwrap_or_else(|_| Name::root());
    let epoch = answer(&label, RecordType::TXT, &epoch?)?;
    let digest = answer(zone, RecordType::ZONEMD, &digest?)?;
    let serial = soa.as_ref().and_then(|soa| soa.rdatas()[0].soa()).map(|soa| soa.serial);
    let record = epoch.as_ref().and_then(EpochRecord::in_set);
    Ok(View { serial, record, epoch, digest })
}

/// The RRset that a reply holds, none where the server says that there is none.
pub(super) fn answer(
    owner: &Name,
    rtype: RecordType,
    reply: &Message,
) -> Result<Option<RRset>, Trouble> {
    match reply.rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        rcode => return Err(Trouble::Refused { rcode }),
    }
    if !reply.is_authoritative() {
        // It hands on what it has heard elsewhere, or sends us elsewhere.
        return Err(Trouble::Refused { rcode: Rcode::NOTAUTH });
    }
    let mut found = reply.answers.iter().filter(|raw| raw.owner == *owner && raw.rtype == rtype);
    let Some(first) = found.next() else { return Ok(None) };
    let ttl = Ttl::from_message(first.ttl);
    let rdatas = std::iter::once(first).chain(found).filter_map(|raw| raw.rdata.clone());
    let mut records = rdatas.map(|rdata| Record::new(owner.clone(), ttl, rdata));
    let Some(record) = records.next() else { return Ok(None) };
    let rdatas: Vec<_> = std::iter::once(record.rdata).chain(records.map(|r| r.rdata)).collect();
    Ok(RRset::new(owner.clone(), ttl, rdatas))
}
