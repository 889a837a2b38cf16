//! What arrives on the socket between elector and guard.

use super::{
    elector_link::{ElectorEnd, ElectorLink},
    protocol::{GuardMessage, LONGEST, Order, decode, encode},
};
use crate::sys::socket::PacketSocket;

/// Takes a packet, as the guard does and as the elector does.
pub(crate) fn packets(data: &[u8]) {
    let data = &data[..data.len().min(2 * LONGEST)];
    let order = decode::<Order>(data);
    if let Ok(order) = &order {
        assert_eq!(decode::<Order>(&encode(order).expect("a packet")).as_ref(), Ok(order));
    }
    if let Ok(message) = decode::<GuardMessage>(data) {
        assert_eq!(decode(&encode(&message).expect("a packet")), Ok(message));
    }
    let Ok((ours, theirs)) = PacketSocket::pair() else { return };
    ours.send(data, &[]).expect("room for a packet");
    let mut link = ElectorLink::new(theirs);
    let received = link.next_order().map(|received| received.order);
    match (data.len(), received) {
        (0, received) => assert_eq!((received, link.end()), (None, Some(ElectorEnd::Died))),
        (1..=LONGEST, Some(received)) => assert_eq!((Ok(received), link.end()), (order, None)),
        (_, received) => assert!(received.is_none() && link.end().is_some(), "{received:?}"),
    }
}
