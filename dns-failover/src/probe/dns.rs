//! One question over UDP.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{Deadline, Failure, broken};
use crate::Name;

const QR: u8 = 0x80;
const AA: u8 = 0x04;
const SOA: [u8; 2] = [0, 6];
const IN: [u8; 2] = [0, 1];

/// RFC 1035 section 4.1: a header of 12 octets and one question.
fn question(zone: &Name, id: u16) -> Vec<u8> {
    let mut question = vec![0; 12];
    question[..2].copy_from_slice(&id.to_be_bytes());
    question[5] = 1;
    question.extend_from_slice(zone.as_wire());
    question.extend_from_slice(&SOA);
    question.extend_from_slice(&IN);
    question
}

pub(super) fn soa(
    address: SocketAddr,
    zone: &Name,
    id: u16,
    deadline: Deadline,
) -> Result<(), Failure> {
    let what = "asking";
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).map_err(broken(what))?;
    // Only what comes from there is taken then.
    socket.connect(address).map_err(Failure::Connect)?;
    let question = question(zone, id);
    socket.send(&question).map_err(broken(what))?;
    let mut answer = [0; 1232];
    loop {
        let what = "waiting for an answer";
        socket.set_read_timeout(Some(deadline.left(what)?)).map_err(broken(what))?;
        let length = match socket.recv(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                return Err(Failure::Connect(error));
            }
            other => other.map_err(broken(what))?,
        };
        let answer = &answer[..length];
        // Something else that came from there is no answer, whoever sent it.
        let ours = length >= question.len() && answer[..2] == question[..2] && answer[2] & QR != 0;
        if !ours || !answer[12..question.len()].eq_ignore_ascii_case(&question[12..]) {
            continue;
        }
        let (rcode, authoritative) = (answer[3] & 0x0f, answer[2] & AA != 0);
        return match (rcode, authoritative) {
            (0, true) => Ok(()),
            (0, false) => Err(Failure::Answer {
                got: "an answer without authority".to_owned(),
                wanted: "one with authority; is the zone served there?".to_owned(),
            }),
            (rcode, _) => {
                Err(Failure::Answer { got: format!("RCODE {rcode}"), wanted: "NOERROR".to_owned() })
            }
        };
    }
}
