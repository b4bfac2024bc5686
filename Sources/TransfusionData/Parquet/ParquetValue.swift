/// A value of a row of a Parquet file.
public enum ParquetValue: Equatable, Sendable {
    case null
    case flag(Bool)
    case integer(Int64)
    case number(Double)
    /// The bytes of a text or of anything else.
    case bytes(ArraySlice<UInt8>)
    case list([ParquetValue])
    /// The members in the order of the file.
    case structure([ParquetValue])
}
