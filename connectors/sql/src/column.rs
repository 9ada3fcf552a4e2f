//! What a column can hold.

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: ColumnType,
    /// Whether it can hold nothing.
    pub(crate) nullable: bool,
    /// Whether the database puts something there where nothing is given.
    pub(crate) fills: bool,
    /// Whether the database alone says what is there.
    pub(crate) generated: bool,
}

/// What a column can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Bool,
    Int {
        min: i64,
        max: u64,
    },
    Single,
    Double,
    /// Decimal digits: how many of them, and how many of these behind the point. Without bounds: any.
    Decimal(Option<(usize, usize)>),
    Text(TextType),
    /// How many bytes at most; with `exact`, shorter ones are filled up.
    Bytes {
        max: Option<usize>,
        exact: bool,
    },
    Date,
    /// With how many digits of a second.
    Time(u8),
    Timestamp(u8),
    /// With how many digits of a second, and the last year that fits.
    Moment {
        digits: u8,
        year_2038: bool,
    },
    Uuid,
    Json,
    Array(Box<ColumnType>),
    /// SQLite's affinity NUMERIC: a text that looks like a number becomes one, and a whole float an integer.
    Numeric,
    /// It holds whatever comes, as it comes.
    Any,
    /// A text of which the fractions have so many digits at most.
    Fraction(u8),
    /// One of these texts, letter for letter; of a set `several` of them in this order, with commas.
    Labels {
        labels: Vec<String>,
        several: bool,
    },
    /// Four digits: 1901 to 2155.
    Year,
    /// What it keeps is mostly not what it was given.
    Lossy,
    /// The database reads it from a text: an enum, an address, a range.
    Other,
}

/// What a column of text can hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TextType {
    pub(crate) chars_max: Option<usize>,
    pub(crate) bytes_max: Option<usize>,
    /// Blanks at the end are no part of the text.
    pub(crate) trims: bool,
    /// It is filled up with blanks.
    pub(crate) pads: bool,
    pub(crate) letters: Letters,
}

/// Which characters a text may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Letters {
    #[default]
    All,
    /// Those of the basic multilingual plane: MySQL's `utf8mb3`.
    Basic,
    /// Those of the first page, without its controls: of `latin1`, MySQL's own reading of the others is left alone.
    Latin,
    Ascii,
}
