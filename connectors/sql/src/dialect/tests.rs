use super::*;

#[test]
fn declared_types_say_what_a_column_can_hold() {
    let text = |text: TextType| ColumnType::Text(text);
    let plain = TextType::default();
    for (kind, declared, expected) in [
        (DatabaseKind::Postgres, "integer", ColumnType::Int { min: i64::from(i32::MIN), max: 2_147_483_647 }),
        (DatabaseKind::Postgres, "bigint", ColumnType::Int { min: i64::MIN, max: i64::MAX as u64 }),
        (DatabaseKind::Postgres, "numeric(10,2)", ColumnType::Decimal(Some((10, 2)))),
        (DatabaseKind::Postgres, "numeric", ColumnType::Decimal(None)),
        (DatabaseKind::Postgres, "character varying(20)", text(TextType { chars_max: Some(20), ..plain })),
        (
            DatabaseKind::Postgres,
            "timestamp(3) with time zone",
            ColumnType::Moment { digits: 3, year_2038: false },
        ),
        (
            DatabaseKind::Postgres,
            "timestamp with time zone",
            ColumnType::Moment { digits: 6, year_2038: false },
        ),
        (DatabaseKind::Postgres, "timestamp(0) without time zone", ColumnType::Timestamp(0)),
        (DatabaseKind::Postgres, "time without time zone", ColumnType::Time(6)),
        (DatabaseKind::Postgres, "time with time zone", ColumnType::Fraction(6)),
        (DatabaseKind::Postgres, "integer[]", ColumnType::Array(Box::new(signed(32)))),
        (
            DatabaseKind::Postgres,
            "numeric(4,1)[]",
            ColumnType::Array(Box::new(ColumnType::Decimal(Some((4, 1))))),
        ),
        (
            DatabaseKind::Postgres,
            "timestamp(3) with time zone[]",
            ColumnType::Array(Box::new(ColumnType::Moment { digits: 3, year_2038: false })),
        ),
        (DatabaseKind::Postgres, "inet", ColumnType::Other),
        (DatabaseKind::MySql, "int(10) unsigned", ColumnType::Int { min: 0, max: u64::from(u32::MAX) }),
        (DatabaseKind::MySql, "bigint unsigned", ColumnType::Int { min: 0, max: u64::MAX }),
        (DatabaseKind::MySql, "tinyint(1)", ColumnType::Int { min: -128, max: 127 }),
        (DatabaseKind::MySql, "decimal(5,3)", ColumnType::Decimal(Some((5, 3)))),
        (DatabaseKind::MySql, "datetime(6)", ColumnType::Timestamp(6)),
        (DatabaseKind::MySql, "timestamp", ColumnType::Moment { digits: 0, year_2038: true }),
        (DatabaseKind::MySql, "float(7,4)", ColumnType::Decimal(Some((6, 4)))),
        (DatabaseKind::MySql, "char(3)", text(TextType { chars_max: Some(3), trims: true, ..plain })),
        (DatabaseKind::MySql, "geometry", ColumnType::Other),
        (DatabaseKind::Sqlite, "BIGINT", signed(64)),
        (DatabaseKind::Sqlite, "VARCHAR(3)", text(plain)),
        (DatabaseKind::Sqlite, "DECIMAL(10,2)", ColumnType::Numeric),
        (DatabaseKind::Sqlite, "DOUBLE PRECISION", ColumnType::Double),
        (DatabaseKind::Sqlite, "", ColumnType::Any),
        (DatabaseKind::Sqlite, "BOOLEAN", ColumnType::Numeric),
    ] {
        assert_eq!(Dialect::of(kind).type_of(declared, None), expected, "{kind} {declared}");
    }
}

#[test]
fn a_name_cannot_end_its_quotes() {
    for (kind, quoted) in [(DatabaseKind::Postgres, "\"a\"\"b`\""), (DatabaseKind::MySql, "`a\"b```")] {
        let mut sql = String::new();
        Dialect::of(kind).quote(&mut sql, "a\"b`");
        assert_eq!(sql, quoted);
    }
}

#[test]
fn an_upsert_of_nothing_but_its_key_is_one_still() {
    for (kind, end) in [
        (DatabaseKind::Sqlite, " ON CONFLICT (\"id\") DO NOTHING"),
        (DatabaseKind::MySql, " ON DUPLICATE KEY UPDATE `id`=`id`"),
    ] {
        let mut sql = String::new();
        Dialect::of(kind).upsert(&mut sql, ["id"].into_iter(), &["id".to_owned()]);
        assert_eq!(sql, end);
    }
}
