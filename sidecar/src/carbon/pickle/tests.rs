//! Pickles of every writer, and those that nobody should send.

use super::*;
use proptest::prelude::*;

/// What an item of a list says: name, timestamp, value.
type Said = Option<(String, Option<f64>, Option<f64>)>;

fn items(bytes: &[u8]) -> Result<Vec<Said>, Refusal> {
    let mut items = Vec::new();
    read(bytes, |item| {
        items.push(item.map(|item| (String::from_utf8_lossy(item.name).into_owned(), item.timestamp, item.value)));
    })?;
    Ok(items)
}

fn point(name: &str, timestamp: f64, value: f64) -> Said {
    Some((name.to_owned(), Some(timestamp), Some(value)))
}

#[test]
fn every_protocol_of_pythons_is_read() {
    // pickle.dumps([("a.b", (1700000000, 1.5)), ("grüß🚀.x;t=v", (1700000000.5, -3)), ("c", (-1, 2**40)),
    // ("d", ("1700000000", "2.5"))], protocol) of Python 3.11; 3 and 5 differ from 2 and 4 in their number alone.
    let protocols: [&[u8]; 4] = [
        b"(lp0\n(Va.b\np1\n(I1700000000\nF1.5\ntp2\ntp3\na(Vgr\xfc\xdf\\U0001f680.x;t=v\np4\n(F1700000000.5\nI-3\ntp5\n\
          tp6\na(Vc\np7\n(I-1\nL1099511627776L\ntp8\ntp9\na(Vd\np10\n(V1700000000\np11\nV2.5\np12\ntp13\ntp14\na.",
        b"]q\x00((X\x03\x00\x00\x00a.bq\x01(J\x00\xf1SeG?\xf8\x00\x00\x00\x00\x00\x00tq\x02tq\x03(X\x10\x00\x00\x00gr\
          \xc3\xbc\xc3\x9f\xf0\x9f\x9a\x80.x;t=vq\x04(GA\xd9T\xfc@ \x00\x00J\xfd\xff\xff\xfftq\x05tq\x06(X\x01\x00\x00\
          \x00cq\x07(J\xff\xff\xff\xffL1099511627776L\ntq\x08tq\t(X\x01\x00\x00\x00dq\n(X\n\x00\x00\x001700000000q\x0b\
          X\x03\x00\x00\x002.5q\x0ctq\rtq\x0ee.",
        b"\x80\x02]q\x00(X\x03\x00\x00\x00a.bq\x01J\x00\xf1SeG?\xf8\x00\x00\x00\x00\x00\x00\x86q\x02\x86q\x03X\x10\x00\
          \x00\x00gr\xc3\xbc\xc3\x9f\xf0\x9f\x9a\x80.x;t=vq\x04GA\xd9T\xfc@ \x00\x00J\xfd\xff\xff\xff\x86q\x05\x86q\
          \x06X\x01\x00\x00\x00cq\x07J\xff\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01\x86q\x08\x86q\tX\x01\x00\x00\
          \x00dq\nX\n\x00\x00\x001700000000q\x0bX\x03\x00\x00\x002.5q\x0c\x86q\r\x86q\x0ee.",
        b"\x80\x04\x95r\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x03a.b\x94J\x00\xf1SeG?\xf8\x00\x00\x00\x00\x00\x00\x86\
          \x94\x86\x94\x8c\x10gr\xc3\xbc\xc3\x9f\xf0\x9f\x9a\x80.x;t=v\x94GA\xd9T\xfc@ \x00\x00J\xfd\xff\xff\xff\x86\
          \x94\x86\x94\x8c\x01c\x94J\xff\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01\x86\x94\x86\x94\x8c\x01d\x94\x8c\n\
          1700000000\x94\x8c\x032.5\x94\x86\x94\x86\x94e.",
    ];
    let expected = [
        point("a.b", 1_700_000_000.0, 1.5),
        point("grüß🚀.x;t=v", 1_700_000_000.5, -3.0),
        point("c", -1.0, 1_099_511_627_776.0),
        point("d", 1_700_000_000.0, 2.5),
    ];
    for (number, bytes) in protocols.into_iter().enumerate() {
        assert_eq!(items(bytes).unwrap(), expected, "{number}");
    }
}

#[test]
fn what_other_writers_make_of_a_point_is_read() {
    for (bytes, expected) in [
        // etsy's statsd: texts in quotes, numbers as long ones and as texts.
        (&b"(l(S'a.b'\n(L1700000000L\nS'2'\ntta."[..], vec![point("a.b", 1.7e9, 2.0)]),
        // Python 2, with escapes of both kinds.
        (b"(lp1\n(S'it\\'s\\x20\\q'\np2\n(I1\nI01\ntta.", vec![point("it's \\q", 1.0, 1.0)]),
        (b"(l(V\\u00e4\\ud83d\\ude80\n(I1\nI2\ntta.", vec![point("ä🚀", 1.0, 2.0)]),
        // One point of two series, of a list of lists, with bytes as names.
        (b"\x80\x03]((C\x01aK\x01K\x02\x86q\x00t(C\x01bh\x00te.", vec![point("a", 1.0, 2.0), point("b", 1.0, 2.0)]),
        (b"](](\x8c\x01a](K\x01\x88eee.", vec![point("a", 1.0, 1.0)]),
        (b")U\x01aM\x00\x01\x89\x86\x86\x850.", vec![]),
        // What is no point does not harm its neighbours.
        (
            b"](NK\x05)U\x01aK\x01N\x86\x86U\x01aU\x01xK\x02\x86\x86e.",
            vec![None, None, None, Some(("a".to_owned(), Some(1.0), None)), Some(("a".to_owned(), None, Some(2.0)))],
        ),
    ] {
        assert_eq!(items(bytes).unwrap(), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_more_than_data_is_refused() {
    for (bytes, at, reason) in [
        (&b""[..], 0, "it ends in the middle"),
        (b"](", 2, "it ends in the middle"),
        (b".", 1, "the stack is empty"),
        (b"K\x01.", 3, "it is not of a list of points"),
        (
            b"cos\nsystem\n(S'true'\ntR.",
            1,
            "instruction 0x63 makes something else than numbers, texts, tuples and lists",
        ),
        (b"}.", 1, "instruction 0x7d makes something else than numbers, texts, tuples and lists"),
        (b"K\x01a", 3, "only a list can be appended to"),
        (b"](\x85", 3, "a tuple has too few parts"),
        (b"t", 1, "there is no mark"),
        (b"h\x05", 2, "nothing was kept under memo 5"),
        (b"]r\xff\xff\xff\xff.", 6, "memo 4294967295 is out of turn"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", 9, "it ends in the middle"),
        (b"Sx\n.", 3, "a text is not in quotes"),
        (b"V\\ud800x\n.", 9, "a unicode escape is not one"),
        (b"Ione\n.", 5, "a number is not written as one"),
    ] {
        let expected = Refusal::Pickle { at, reason: reason.to_owned() };
        assert_eq!(items(bytes), Err(expected), "{}", bytes.escape_ascii());
    }
    let wide = [&b"](U\x01a\x8a\x11"[..], &[1; 17], b"K\x01\x86\x86e."].concat();
    assert_eq!(items(&wide).unwrap(), [Some(("a".to_owned(), None, Some(1.0)))]);
}

/// The memory that a machine has, in values of the stack.
fn held(bytes: &[u8]) -> usize {
    let mut machine = Machine::new(bytes);
    let _ = machine.run();
    let lists: usize = machine.lists.iter().map(|list| list.capacity() + 1).sum();
    machine.stack.capacity() + machine.memo.capacity() + machine.items.capacity() + machine.lists.capacity() + lists
}

#[test]
fn bombs_do_not_go_off() {
    let nested = [vec![b')'], vec![0x85; 1 << 20], vec![b'.']].concat();
    let doubled = [vec![b']'], b"2a".repeat(1 << 19), vec![b'.']].concat();
    let marked = [vec![b'('; 1 << 20], vec![b'.']].concat();
    let laughs: Vec<u8> =
        (1..1 << 16).flat_map(|level| format!("(lp{level}\ng{0}\nag{0}\na", level - 1).into_bytes()).collect();
    let laughs = [b"(lp0\n".to_vec(), laughs, vec![b'.']].concat();
    let memo = [&b"]r\xff\xff\x0f\x00"[..], &[b'N'; 1 << 20]].concat();
    for bytes in [nested, doubled, marked, laughs, memo] {
        let most = 8 * bytes.len();
        assert!(held(&bytes) <= most, "{} values for {} bytes", held(&bytes), bytes.len());
        let _ = items(&bytes);
    }
}

/// One instruction with an argument of its kind.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let plain = prop::sample::select(&b"(012N\x88\x89)]tlae.\x85\x86\x87\x94"[..]).prop_map(|byte| vec![byte]);
    let short = (prop::sample::select(&b"UC\x8c\x8aKqh"[..]), prop::collection::vec(any::<u8>(), 0..4))
        .prop_map(|(byte, text)| [vec![byte, text.len() as u8], text].concat());
    let line = (prop::sample::select(&b"ILFSVpg"[..]), "[-0-9a-z.'\\\\uUx]{0,12}")
        .prop_map(|(byte, text)| [vec![byte], text.into_bytes(), vec![b'\n']].concat());
    let long = (prop::sample::select(&b"TBXrjJG\x8b\x8d\x8e\x96\x95"[..]), prop::collection::vec(any::<u8>(), 4..12))
        .prop_map(|(byte, argument)| [vec![byte], argument].concat());
    prop_oneof![4 => plain, 3 => short, 2 => line, 1 => long]
}

proptest! {
    #[test]
    fn any_pickle_is_read_in_bounded_memory(program in prop::collection::vec(instruction(), 0..200)) {
        let bytes = program.concat();
        prop_assert!(held(&bytes) <= 8 * bytes.len() + 64);
        let mut count = 0;
        let _ = read(&bytes, |_| count += 1);
        prop_assert!(count <= bytes.len());
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let mut count = 0;
        let _ = read(&bytes, |_| count += 1);
        prop_assert!(count <= bytes.len());
    }
}
