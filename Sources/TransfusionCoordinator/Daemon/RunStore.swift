internal import Foundation
internal import GRDB
internal import TransfusionConfig
internal import TransfusionHTTP

/// What a daemon has to know when it is started again: its runs, and the digests of the tokens that it has given away.
///
/// SQLite in WAL mode: what a call has written survives the end of the process and of the machine. Everything else that
/// is known of a run lies in the run's own directory.
final class RunStore: Sendable {
    /// A run as the daemon keeps it.
    struct Record: Codable, Sendable, FetchableRecord, PersistableRecord {
        enum State: String, Codable, Sendable {
            /// Waits for slots.
            case queued
            /// Is supervised, or was when the daemon ended.
            case active
            /// Waits for somebody to continue it.
            case ended
        }

        static let databaseTableName = "run"

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

    private struct Token: Codable, FetchableRecord, PersistableRecord {
        static let databaseTableName = "viewer_token"

        let name: String
        let digest: Data
        let expires: Double?
    }

    private let path: String
    private let database: DatabaseQueue

    /// Opens the store, or makes it.
    init(_ path: String) throws {
        self.path = path
        var configuration = Configuration()
        configuration.journalMode = .wal
        configuration.label = "tf-coord runs"
        configuration.prepareDatabase { database in
            // One daemon uses the store, and without shared memory it may lie on a network file system.
            try database.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        do {
            database = try DatabaseQueue(path: path, configuration: configuration)
            try Self.migrator.migrate(database)
        } catch {
            throw CommandFailure("\(path): cannot be used as the store of runs (\(error))")
        }
    }

    private static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("runs and tokens") { database in
            try database.create(table: Record.databaseTableName) { table in
                table.primaryKey("name", .text)
                table.column("place", .integer).notNull().unique()
                table.column("state", .text).notNull()
                table.column("request", .blob).notNull()
                table.column("exit", .text)
            }
            try database.create(table: Token.databaseTableName) { table in
                table.primaryKey("digest", .blob)
                table.column("name", .text).notNull()
                table.column("expires", .double)
            }
        }
        return migrator
    }

    // MARK: Runs

    /// All runs in the order of their places.
    func runs() throws -> [Record] {
        try database.read { try Record.order(Column("place")).fetchAll($0) }
    }

    /// Puts a run at the end of the queue, in the place of an older one of its name.
    /// - Returns: The run with its place.
    func enqueue(_ record: Record) throws -> Record {
        try write { database in
            var record = record
            record.state = .queued
            record.exit = nil
            record.place = 1 + (try Int.fetchOne(database, sql: "SELECT max(place) FROM run") ?? 0)
            try record.save(database)
            return record
        }
    }

    /// Keeps what has changed of a run.
    func update(_ record: Record) throws {
        try write { try record.update($0) }
    }

    // MARK: Tokens

    /// The tokens that are still valid.
    func tokens(at time: Double = Date().timeIntervalSince1970) throws -> [AccessTokens.Entry] {
        try write { database in
            try Token.filter(Column("expires") <= time).deleteAll(database)
            return try Token.fetchAll(database).map {
                AccessTokens.Entry(digest: Array($0.digest), access: .viewer, name: $0.name, expires: $0.expires)
            }
        }
    }

    /// Keeps the digest of a viewer's token.
    func keep(_ entry: AccessTokens.Entry) throws {
        guard let name = entry.name else { preconditionFailure("a token that is kept has a name") }
        try write { try Token(name: name, digest: Data(entry.digest), expires: entry.expires).insert($0) }
    }

    /// - Returns: Whether there were tokens of that name.
    func forget(tokens name: String) throws -> Bool {
        try write { try Token.filter(Column("name") == name).deleteAll($0) } > 0
    }

    private func write<Value>(_ body: (Database) throws -> Value) throws(Failure) -> Value {
        do {
            return try database.write(body)
        } catch {
            let failure = error as? DatabaseError
            throw Failure(
                path, because: failure?.message ?? "\(error)", isOutOfRoom: failure?.resultCode == .SQLITE_FULL)
        }
    }
}
