use super::*;

fn parse(kind: DatabaseKind, text: &str) -> Result<Template> {
    Template::parse(Dialect::of(kind), "statements.insert", text)
}

#[test]
fn a_parameter_is_a_name_after_a_colon_and_nothing_else() {
    use DatabaseKind::{MySql, Postgres, Sqlite};
    for (kind, text, sql) in [
        (Postgres, "INSERT INTO t VALUES (:a, :b_1,:é)", "INSERT INTO t VALUES ($1, $2,$3)"),
        (MySql, "INSERT INTO t VALUES (:a, :b_1,:é)", "INSERT INTO t VALUES (?, ?,?)"),
        // Casts, slices, operators.
        (
            Postgres,
            "UPDATE t SET a = :a::int, b = b[1:n], c = c ? 'x'",
            "UPDATE t SET a = $1::int, b = b[1:n], c = c ? 'x'",
        ),
        (MySql, "UPDATE t SET a = :a, b = @x := 1", "UPDATE t SET a = ?, b = @x := 1"),
        // Quotes, and what ends them.
        (Postgres, "INSERT INTO t VALUES (':a''\\', :a)", "INSERT INTO t VALUES (':a''\\', $1)"),
        (Postgres, "INSERT INTO t VALUES (E':a\\':b', :a)", "INSERT INTO t VALUES (E':a\\':b', $1)"),
        (Postgres, "UPDATE t SET b = b LIKE'\\', a = :a", "UPDATE t SET b = b LIKE'\\', a = $1"),
        (
            MySql,
            "INSERT INTO t VALUES (':a\\':b', \":a\\\":b\", :a)",
            "INSERT INTO t VALUES (':a\\':b', \":a\\\":b\", ?)",
        ),
        (Sqlite, "INSERT INTO \":a\" VALUES ('\\', :a)", "INSERT INTO \":a\" VALUES ('\\', ?)"),
        (Sqlite, "UPDATE [a:b] SET `a:b` = :a", "UPDATE [a:b] SET `a:b` = ?"),
        (
            Postgres,
            "INSERT INTO t VALUES ($$:a'$$, $x$:a$$:b$x$, :a)",
            "INSERT INTO t VALUES ($$:a'$$, $x$:a$$:b$x$, $1)",
        ),
        // Comments.
        (
            Postgres,
            "/* :x /* ' */ :y */ DELETE FROM t -- :z '\n WHERE a = :a",
            "/* :x /* ' */ :y */ DELETE FROM t -- :z '\n WHERE a = $1",
        ),
        (
            MySql,
            "DELETE FROM t # :z '\n WHERE a = 5--:a /* /* ' */",
            "DELETE FROM t # :z '\n WHERE a = 5--? /* /* ' */",
        ),
        (MySql, "DELETE FROM t -- :z '\n WHERE a = :a", "DELETE FROM t -- :z '\n WHERE a = ?"),
        // One statement.
        (Sqlite, "\n with x as (select :a) delete from t ; ;\n", "\n with x as (select ?) delete from t "),
    ] {
        let template = parse(kind, text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(template.sql, sql, "{text}");
        assert_eq!(&*template.names[0], "a", "{text}");
    }
}

#[test]
fn a_name_that_stands_there_twice_is_one_field() {
    let text = "INSERT INTO t VALUES (:a, :b) ON CONFLICT (a) DO UPDATE SET b = t.b + :b";
    let row = Fields(vec![("b".into(), SqlValue::I64(2)), ("a".into(), SqlValue::I64(1))]);
    for (kind, end, values) in [
        (DatabaseKind::Postgres, "t.b + $2", vec![1, 2]),
        (DatabaseKind::Sqlite, "t.b + ?", vec![1, 2, 2]),
        (DatabaseKind::MySql, "t.b + ?", vec![1, 2, 2]),
    ] {
        let template = parse(kind, text).expect("a statement");
        assert!(template.sql.ends_with(end), "{}", template.sql);
        assert!(template.names.iter().map(|name| &**name).eq(["a", "b"]));
        let bound = template.values(&row).expect("values");
        assert!(bound == values.into_iter().map(SqlValue::I64).collect::<Vec<_>>());
    }
}

#[test]
fn a_row_of_another_statement_is_refused_by_the_name_that_differs() {
    let template = parse(DatabaseKind::Sqlite, "INSERT INTO t VALUES (:a)").expect("a statement");
    for (row, named) in [(vec![], ": a"), (vec![("a", 1), ("c", 2)], ": c")] {
        let row = row.into_iter().map(|(name, value)| (name.into(), SqlValue::I64(value))).collect();
        let fault = template.values(&Fields(row)).expect_err("another row");
        assert!(fault.class == Class::Impossible && fault.message.ends_with(named), "{}", fault.message);
    }
}

#[test]
fn what_cannot_be_a_statement_is_told_before_anything_is_connected() {
    use DatabaseKind::{MySql, Postgres, Sqlite};
    for (kind, text, why) in [
        (Postgres, "INSERT INTO t VALUES (1)", ":name"),
        (Postgres, "INSERT INTO t VALUES ($1, :a)", ":name"),
        (MySql, "INSERT INTO t VALUES (?, :a)", ":name"),
        (Sqlite, "INSERT INTO t VALUES (?1, :a)", ":name"),
        (Sqlite, "INSERT INTO t VALUES (@b, :a)", ":name"),
        (Sqlite, "INSERT INTO t VALUES ($b, :a)", ":name"),
        (Sqlite, "INSERT INTO t VALUES (1:a)", "follow a word"),
        (Postgres, "INSERT INTO t VALUES (:a); COMMIT", "more follow"),
        (Postgres, "INSERT INTO t VALUES (:a, 'b)", "not closed"),
        (MySql, "INSERT INTO t VALUES (:a, 'b\\')", "not closed"),
        (Postgres, "INSERT INTO t VALUES (:a, $x$b$$)", "not closed"),
        (Postgres, "INSERT INTO t VALUES (:a) /* /* */", "not closed"),
        (MySql, "CALL p(:a)", "begins with"),
        (MySql, "CREATE TABLE t AS SELECT :a", "begins with"),
        (Sqlite, "-- insert\nPRAGMA x = :a", "begins with"),
        (Postgres, "", "begins with"),
    ] {
        let error = parse(kind, text).expect_err(text).to_string();
        assert!(error.contains(why) && error.contains("setting=statements.insert"), "{text}: {error}");
    }
}
