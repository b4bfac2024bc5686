import Foundation
import Testing
import TransfusionConfig
import TransfusionHTTP
import _TestUtilities

@testable import TransfusionCoordinator

@Suite struct RunStoreTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.file("runs.sqlite") }

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func record(_ name: String) throws -> RunStore.Record {
        try RunStore.Record(name: name, request: .example(name))
    }

    @Test func runsAreThereAgainInTheirOrder() throws {
        var store: RunStore? = try RunStore(path)
        for name in ["first", "second", "third"] { _ = try store?.enqueue(record(name)) }
        var second = try #require(store?.runs()[1])
        second.state = .active
        try store?.update(second)
        // One that has ended and is continued goes to the end of the queue.
        _ = try store?.enqueue(record("first"))
        store = nil

        let runs = try RunStore(path).runs()
        #expect(runs.map(\.name) == ["second", "third", "first"])
        #expect(runs.map(\.state) == [.active, .queued, .queued])
        #expect(try runs[0].decodedRequest() == .example("second"))
    }

    @Test func belongsToOneProcess() throws {
        let store = try RunStore(path)
        _ = try store.enqueue(record("only"))
        let error = #expect(throws: CommandFailure.self) { try RunStore(path) }
        #expect(error?.description.contains("database is locked") == true, "\(String(describing: error))")
        #expect(try store.runs().map(\.name) == ["only"])
    }

    @Test func keepsNothingOfATokenButItsDigest() throws {
        var tokens = AccessTokens()
        let (token, entry) = tokens.issueViewer("prometheus", lifetime: nil)
        var store: RunStore? = try RunStore(path)
        try store?.keep(entry)
        let expired = AccessTokens.Entry(digest: [1, 2, 3], access: .viewer, name: "old", expires: 1000)
        try store?.keep(expired)
        store = nil

        for name in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
            let data = try Data(contentsOf: URL(filePath: directory.file(name)))
            #expect(data.range(of: Data(token.utf8)) == nil)
        }
        let reopened = try RunStore(path)
        var loaded = AccessTokens()
        for entry in try reopened.tokens() { loaded.add(entry) }
        #expect(try reopened.tokens() == [entry])
        #expect(loaded.access(for: token) == .viewer)
        #expect(try reopened.forget(tokens: "prometheus"))
        #expect(try !reopened.forget(tokens: "prometheus"))
        #expect(try reopened.tokens().isEmpty)
    }

    /// Written through another library, with a table of its own.
    @Test func aStoreOfVersion02IsRead() throws {
        let request = try record("old").request
        do {
            let database = try SQLiteDatabase(path)
            for statement in [
                "PRAGMA journal_mode = WAL",
                "CREATE TABLE grdb_migrations (identifier TEXT NOT NULL PRIMARY KEY)",
                #"CREATE TABLE "run" ("name" TEXT PRIMARY KEY NOT NULL, "place" INTEGER NOT NULL UNIQUE, "state" TEXT NOT NULL, "request" BLOB NOT NULL, "exit" TEXT)"#,
                #"CREATE TABLE "viewer_token" ("digest" BLOB PRIMARY KEY NOT NULL, "name" TEXT NOT NULL, "expires" DOUBLE)"#,
                "INSERT INTO viewer_token VALUES (x'0102', 'dashboard', 4000000000.5)",
            ] { try database.run(statement) }
            try database.run(
                "INSERT INTO run VALUES ('old', 7, 'ended', ?, ?)",
                [.blob(Array(request)), .text(#"{"code":1,"reason":"ended at once"}"#)])
        }
        let store = try RunStore(path)
        let old = try #require(store.runs().first)
        #expect(old.name == "old" && old.place == 7 && old.state == .ended)
        #expect(old.exit == RunStatus.Exit(code: 1, reason: "ended at once"))
        #expect(try old.decodedRequest() == .example("old"))
        #expect(try store.enqueue(record("new")).place == 8)
        #expect(
            try store.tokens()
                == [AccessTokens.Entry(digest: [1, 2], access: .viewer, name: "dashboard", expires: 4_000_000_000.5)])
        var ended = try #require(store.runs().last)
        ended.state = .ended
        ended.exit = RunStatus.Exit(code: 85, reason: "stopped; \"quoted\"")
        try store.update(ended)
        #expect(try store.runs().last?.exit == ended.exit)
    }

    @Test func whatIsNoStoreIsRefusedByName() throws {
        try "this is no database, but it is long enough to be taken for one".write(
            toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: (any Error).self) { try RunStore(path) }
        #expect("\(error!)".hasPrefix("\(path): cannot be used as the store of runs"))
    }
}

extension RunRequest {
    static func example(_ name: String) throws -> RunRequest {
        try RunRequest(
            .init(
                yaml:
                    "name: \(name)\nmodel: {preset: tiny}\ndata: {path: /data}\nschedule: {steps: 5000}\nbatch: {global_sequences: 8}"
            ),
            hosts: [.local(slots: 2)], ranks: 2,
            directory: "/runs/\(name)", worker: "/bin/true")
    }
}
