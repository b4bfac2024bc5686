internal import Foundation
internal import TransfusionConfig
internal import TransfusionHTTP
internal import TransfusionSupport

/// What a daemon has to know when it is started again: its runs, and the digests of the tokens that it has given away.
///
/// SQLite in WAL mode: what a call has written survives the end of the process and of the machine. Everything else that
/// is known of a run lies in the run's own directory.
final class RunStore: Sendable {
    /// A run as the daemon keeps it.
    struct Record: Sendable {
        enum State: String, Sendable {
            /// Waits for slots.
            case queued
            /// Is supervised, or was when the daemon ended.
            case active
            /// Waits for somebody to continue it.
            case ended
        }

        /// Its directory in the run root has the same name.
        var name: String
        /// Runs are started in this order.
        var place: Int
        var state: State
        /// The `RunRequest`, as JSON. Its hosts are those that the run was given.
        var request: Data
        /// How the run ended, for when its own directory does not say so.
        var exit: RunStatus.Exit?

        init(name: String, request: RunRequest) throws {
            self.name = name
            place = 0
            state = .queued
            self.request = try CoordinatorJSON.encode(request)
        }

        /// Reads a row of the table.
        fileprivate init?(_ row: [SQLiteDatabase.Value]) {
            guard row.count == 5, case .text(let name) = row[0], case .integer(let place) = row[1],
                case .text(let word) = row[2], let state = State(rawValue: word), case .blob(let request) = row[3]
            else { return nil }
            self.name = name
            self.place = place
            self.state = state
            self.request = Data(request)
            switch row[4] {
            case .null: exit = nil
            case .text(let text):
                guard let known = try? JSONDecoder().decode(RunStatus.Exit.self, from: Data(text.utf8)) else {
                    return nil
                }
                exit = known
            default: return nil
            }
        }

        func decodedRequest() throws -> RunRequest { try CoordinatorJSON.decode(RunRequest.self, from: request) }
    }

    /// The store could not be written.
    struct Failure: Error, CustomStringConvertible {
        /// Whether room on its disk would help.
        let isOutOfRoom: Bool
        let description: String

        init(_ path: String, because reason: String, isOutOfRoom: Bool) {
            self.isOutOfRoom = isOutOfRoom
            description =
                "\(path): the store of runs cannot be written: \(reason)"
                + (isOutOfRoom ? "; make room on its disk and try again" : "")
        }
    }

    private let path: String
    private let database: SQLiteDatabase

    /// Opens the store, or makes it.
    init(_ path: String) throws {
        self.path = path
        do {
            database = try SQLiteDatabase(path)
            for statement in Self.beginning { try database.run(statement) }
        } catch {
            throw CommandFailure("\(path): cannot be used as the store of runs (\(error))")
        }
    }

    // One daemon uses the store, and without shared memory it may lie on a network file system.
    private static let beginning = [
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        """
        CREATE TABLE IF NOT EXISTS run (
            name TEXT PRIMARY KEY NOT NULL, place INTEGER NOT NULL UNIQUE, state TEXT NOT NULL, request BLOB NOT NULL, exit TEXT)
        """,
        "CREATE TABLE IF NOT EXISTS viewer_token (digest BLOB PRIMARY KEY NOT NULL, name TEXT NOT NULL, expires DOUBLE)",
    ]

    // MARK: Runs

    /// All runs in the order of their places.
    func runs() throws -> [Record] {
        try database.run("SELECT name, place, state, request, exit FROM run ORDER BY place").map { row in
            guard let record = Record(row) else {
                throw CommandFailure("\(path): holds a run that this version does not understand")
            }
            return record
        }
    }

    /// Puts a run at the end of the queue, in the place of an older one of its name.
    /// - Returns: The run with its place.
    func enqueue(_ record: Record) throws -> Record {
        var record = record
        record.state = .queued
        record.exit = nil
        let rows = try write(
            """
            INSERT INTO run (name, place, state, request) VALUES (?, (SELECT 1 + coalesce(max(place), 0) FROM run), ?, ?)
            ON CONFLICT (name) DO UPDATE SET place = excluded.place, state = excluded.state, request = excluded.request, exit = NULL
            RETURNING place
            """,
            [.text(record.name), .text(record.state.rawValue), .blob(Array(record.request))])
        guard case .integer(let place)? = rows.first?.first else {
            preconditionFailure("a run was not put in its place")
        }
        record.place = place
        return record
    }

    /// Keeps what has changed of a run.
    func update(_ record: Record) throws {
        let exit = try record.exit.map { try JSONText.line($0) }
        try write(
            "UPDATE run SET place = ?, state = ?, request = ?, exit = ? WHERE name = ?",
            [
                .integer(record.place), .text(record.state.rawValue), .blob(Array(record.request)),
                exit.map { .text($0) } ?? .null, .text(record.name),
            ])
    }

    // MARK: Tokens

    /// The tokens that are still valid.
    func tokens(at time: Double = Date().timeIntervalSince1970) throws -> [AccessTokens.Entry] {
        try write("DELETE FROM viewer_token WHERE expires <= ?", [.real(time)])
        return try database.run("SELECT digest, name, expires FROM viewer_token ORDER BY rowid").map { row in
            guard case .blob(let digest) = row[0], case .text(let name) = row[1] else {
                throw CommandFailure("\(path): holds a token that this version does not understand")
            }
            var expires: Double?
            if case .real(let time) = row[2] { expires = time }
            return AccessTokens.Entry(digest: digest, access: .viewer, name: name, expires: expires)
        }
    }

    /// Keeps the digest of a viewer's token.
    func keep(_ entry: AccessTokens.Entry) throws {
        guard let name = entry.name else { preconditionFailure("a token that is kept has a name") }
        try write(
            "INSERT INTO viewer_token (digest, name, expires) VALUES (?, ?, ?)",
            [.blob(entry.digest), .text(name), entry.expires.map { .real($0) } ?? .null])
    }

    /// - Returns: Whether there were tokens of that name.
    func forget(tokens name: String) throws -> Bool {
        try !write("DELETE FROM viewer_token WHERE name = ? RETURNING name", [.text(name)]).isEmpty
    }

    @discardableResult
    private func write(_ statement: String, _ values: [SQLiteDatabase.Value]) throws(Failure) -> [[SQLiteDatabase
        .Value]]
    {
        do {
            return try database.run(statement, values)
        } catch {
            throw Failure(path, because: error.description, isOutOfRoom: error.isOutOfRoom)
        }
    }
}
