internal import CSQLite
internal import Synchronization

/// A database of one connection, whose statements come one after the other, each a transaction of its own.
final class SQLiteDatabase: Sendable {
    /// What a column of a row holds, or a `?` of a statement stands for.
    enum Value: Sendable, Equatable {
        case null
        case integer(Int)
        case real(Double)
        case text(String)
        case blob([UInt8])
    }

    /// What SQLite says of a statement that failed.
    struct Failure: Error, CustomStringConvertible {
        /// The primary result code.
        let code: Int32
        let description: String

        /// Whether room on the disk would help.
        var isOutOfRoom: Bool { code == SQLITE_FULL }

        fileprivate init(_ code: Int32, _ connection: OpaquePointer?) {
            self.code = code & 0xFF
            description =
                connection.map { String(cString: sqlite3_errmsg($0)) } ?? String(cString: sqlite3_errstr(code))
        }
    }

    private let connection: Mutex<OpaquePointer?>

    /// Opens the file, or makes it.
    init(_ path: String) throws(Failure) {
        var connection: OpaquePointer?
        let code = sqlite3_open_v2(
            path, &connection, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nil)
        guard code == SQLITE_OK else {
            defer { sqlite3_close_v2(connection) }
            throw Failure(code, connection)
        }
        self.connection = Mutex(connection)
    }

    deinit { connection.withLock { _ = sqlite3_close_v2($0) } }

    /// Runs one statement.
    /// - Parameter values: For its `?`, in order.
    /// - Returns: The rows of its result, each with all columns.
    @discardableResult
    func run(_ statement: String, _ values: [Value] = []) throws(Failure) -> [[Value]] {
        try connection.withLock { connection throws(Failure) in
            var prepared: OpaquePointer?
            try Self.check(sqlite3_prepare_v2(connection, statement, -1, &prepared, nil), connection)
            defer { sqlite3_finalize(prepared) }
            for (index, value) in values.enumerated() {
                try Self.check(Self.bind(value, Int32(index + 1), of: prepared), connection)
            }
            var rows: [[Value]] = []
            while true {
                let code = sqlite3_step(prepared)
                guard code == SQLITE_ROW else {
                    guard code == SQLITE_DONE else { throw Failure(code, connection) }
                    return rows
                }
                rows.append((0..<sqlite3_column_count(prepared)).map { Self.column($0, of: prepared) })
            }
        }
    }

    private static func check(_ code: Int32, _ connection: OpaquePointer?) throws(Failure) {
        guard code == SQLITE_OK else { throw Failure(code, connection) }
    }

    private static func bind(_ value: Value, _ index: Int32, of statement: OpaquePointer?) -> Int32 {
        // SQLite copies what it is given.
        let copies = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        return switch value {
        case .null: sqlite3_bind_null(statement, index)
        case .integer(let number): sqlite3_bind_int64(statement, index, Int64(number))
        case .real(let number): sqlite3_bind_double(statement, index, number)
        case .text(let text):
            sqlite3_bind_text64(statement, index, text, UInt64(text.utf8.count), copies, UInt8(SQLITE_UTF8))
        case .blob(let bytes): sqlite3_bind_blob64(statement, index, bytes, UInt64(bytes.count), copies)
        }
    }

    private static func column(_ index: Int32, of statement: OpaquePointer?) -> Value {
        func bytes(_ start: UnsafeRawPointer?) -> [UInt8] {
            [UInt8](UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, index))))
        }
        switch sqlite3_column_type(statement, index) {
        case SQLITE_INTEGER: return .integer(Int(sqlite3_column_int64(statement, index)))
        case SQLITE_FLOAT: return .real(sqlite3_column_double(statement, index))
        case SQLITE_TEXT: return .text(String(decoding: bytes(sqlite3_column_text(statement, index)), as: UTF8.self))
        case SQLITE_BLOB: return .blob(bytes(sqlite3_column_blob(statement, index)))
        default: return .null
        }
    }
}
