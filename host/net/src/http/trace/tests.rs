//! Contexts that come, contexts that go, and the spans of a request.

use http::HeaderValue;
use portolan_core::exchange::Headers;

use super::{
    TraceConfig, TraceContext, Tracing,
    context::{TRACEPARENT, TRACESTATE},
};
use crate::random::Random;

const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn tracing(sample_rate: f64) -> std::sync::Arc<Tracing> {
    Tracing::new(TraceConfig { sample_rate, ..TraceConfig::default() }, 1).0
}

fn headers(traceparent: &str) -> Headers {
    let mut headers = Headers::default();
    headers.insert(TRACEPARENT, HeaderValue::from_str(traceparent).unwrap());
    headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
    headers
}

fn context(headers: &Headers, sample_rate: f64) -> TraceContext {
    TraceContext::of(headers, &tracing(sample_rate), &Random::seeded())
}

#[test]
fn a_trace_that_comes_with_a_request_goes_on() {
    let mut headers = headers(SENT);
    let context = context(&headers, 0.0);
    assert!(context.is_sampled(), "who began it has decided");
    assert_eq!(context.parent, Some(0xb7ad_6b71_6920_3331));
    context.put(&mut headers, Some(0x10));
    let expected = "00-0af7651916cd43dd8448eb211c80319c-0000000000000010-01";
    assert_eq!(
        (&headers[TRACEPARENT], &headers[TRACESTATE]),
        (&HeaderValue::from_static(expected), &HeaderValue::from_static("a=b"))
    );
    let (trace, span) = context.digits();
    assert_eq!(&trace, b"0af7651916cd43dd8448eb211c80319c");
    assert_eq!(std::str::from_utf8(&span).unwrap(), format!("{:016x}", context.span));
}

#[test]
fn what_is_not_sampled_is_handed_on_as_it_came() {
    let sent = format!("{}0", SENT.trim_end_matches('1'));
    let mut headers = headers(&sent);
    let before = headers.clone();
    let context = context(&headers, 1.0);
    assert!(!context.is_sampled());
    context.put(&mut headers, None);
    assert_eq!(headers, before);
}

#[test]
fn what_makes_no_sense_is_replaced_with_what_belongs_to_it() {
    for bad in [
        "",
        "00",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        let mut headers = headers(bad);
        let context = context(&headers, 0.0);
        assert_eq!((context.parent, context.is_sampled()), (None, false), "{bad}");
        context.put(&mut headers, None);
        assert!(!headers.contains_key(TRACESTATE), "{bad}");
        let put = headers[TRACEPARENT].to_str().unwrap();
        assert!(put.len() == 55 && put.ends_with("-00"), "{bad} → {put}");
    }
}

#[test]
fn a_later_version_may_say_more() {
    let context = context(&headers(&format!("{}-more", SENT.replacen("00", "01", 1))), 0.0);
    assert!(context.parent.is_some() && context.is_sampled());
}

#[test]
fn the_share_that_is_sampled_is_about_what_is_wanted() {
    let (tracing, random, none) = (tracing(0.25), Random::seeded(), Headers::default());
    let sampled = |_: &i32| TraceContext::of(&none, &tracing, &random).is_sampled();
    let count = (0..4_000).filter(sampled).count();
    assert!((800..1_200).contains(&count), "{count} of 4,000");
    assert!((0..100).all(|_| !TraceContext::of(&none, &self::tracing(0.0), &random).is_sampled()));
    assert!((0..100).all(|_| TraceContext::of(&none, &self::tracing(1.0), &random).is_sampled()));
}
