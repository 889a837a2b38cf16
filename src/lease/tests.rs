//! The rules of the lease, with any times and any answers.

use proptest::prelude::*;

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns the moment this long after boot.
fn after_boot(time: Duration) -> Moment {
    Moment::now() - Moment::now().since_boot() + time
}

#[test]
fn the_default_times_match_the_man_page() {
    let times = Times::new(ms(15_000), None).expect("times that fit");
    assert_eq!(times.extend_every(), ms(5000));
    assert_eq!(times.retry_after(), ms(500));
    assert_eq!(times.answer_timeout(), ms(750));
    assert_eq!(times.connect_timeout(), ms(3000));
    assert_eq!(times.kill_after(), ms(5000));
    assert_eq!(times.margin(), ms(300));
    assert_eq!(times.drift(), ms(152));
    let sent = after_boot(ms(1_000_000));
    assert_eq!(times.lease_end(sent), after_boot(ms(1_014_848)));
    assert_eq!(times.deadlines(sent).kill_at, after_boot(ms(1_014_548)));
    assert_eq!(times.deadlines(sent).stop_at, after_boot(ms(1_009_548)));
}

#[test]
fn a_ttl_out_of_range_is_refused() {
    assert_eq!(Times::new(ms(499), None), Err(TimingError::TtlTooShort));
    assert_eq!(Times::new(LONGEST_TTL + ms(1), None), Err(TimingError::TtlTooLong));
    assert!(Times::new(ms(500), None).is_ok());
    assert!(Times::new(LONGEST_TTL, None).is_ok());
}

#[test]
fn the_longest_kill_after_in_an_error_fits() {
    let Err(TimingError::KillAfterTooLong(longest)) = Times::new(ms(2000), Some(ms(2000))) else { panic!("it fits?") };
    assert!(Times::new(ms(2000), Some(longest)).is_ok());
    assert!(Times::new(ms(2000), Some(longest + ms(1))).is_err());
}

#[test]
fn a_lone_standby_campaigns_at_once_and_many_take_turns() {
    assert_eq!(handover_turn(0, ms(20), 0.99), ms(0));
    assert_eq!(handover_turn(1, ms(20), 0.99), ms(0));
    assert_eq!(handover_turn(10, ms(20), 0.14), ms(0));
    assert_eq!(handover_turn(10, ms(20), 0.16), ms(20));
    assert_eq!(handover_turn(15, ms(20), 0.55), ms(100));
    assert_eq!(handover_turn(15, ms(0), 0.99), ms(9));
    assert_eq!(handover_turn(1500, ms(1), 0.0015), ms(90));
}

proptest! {
    #[test]
    fn valid_times_are_in_order(ttl in 500u64..86_400_000, kill_after in proptest::option::of(0u64..86_400_000)) {
        if let Ok(times) = Times::new(ms(ttl), kill_after.map(ms)) {
            let sent = after_boot(ms(1_000));
            let deadlines = times.deadlines(sent);
            // An extension that fails once still succeeds in time when it is retried.
            let retried = sent + times.extend_every() + times.answer_timeout() + times.retry_after();
            prop_assert!(retried <= deadlines.stop_at);
            prop_assert!(deadlines.stop_at <= deadlines.kill_at);
            prop_assert!(deadlines.kill_at + ms(50) <= times.lease_end(sent));
            // Even a node whose clock is 1 % faster keeps the lock until our lease ends.
            prop_assert!(times.lease_end(sent).since(sent) + ms(2) <= ms(ttl) - ms(ttl) / DRIFT);
            prop_assert!(times.startup_grace() >= ms(ttl) + ms(ttl) / DRIFT + ms(1000));
        }
    }

    #[test]
    fn a_token_is_larger_than_all_seen_before(wall in 0..FencingToken::MAX.get(), seen in 0..FencingToken::MAX.get()) {
        let token = FencingToken::next(wall, FencingToken::new(seen)).get();
        prop_assert!(token > seen && token >= wall && token < 1 << 53);
        prop_assert_eq!((token as f64 + 1.0) as u64, token + 1);
    }
}
