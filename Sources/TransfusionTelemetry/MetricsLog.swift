internal import Foundation
public import TransfusionSupport

/// The append-only metrics.jsonl of a run. What a crash leaves there is put right when the run goes on.
public struct MetricsLog: ~Copyable {
    private let path: String
    private let descriptor: Int32

    /// Opens the log, and removes the records of the steps that will be done again and what a crash left half written.
    /// - Parameters:
    ///   - path: Made when it does not exist.
    ///   - step: The last step that stays: 0 for a new run, else the step of the checkpoint from which it goes on.
    public init(_ path: String, continuingAfter step: Int) throws(FileFailure) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileFailure("open", path) }
        let length = try Self.lengthOfRecords(upTo: step, path)
        guard ftruncate(descriptor, off_t(length)) == 0 else { throw FileFailure("shorten", path) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Appends a record.
    public func append(_ record: StepRecord) throws(FileFailure) {
        try appendWhole(Array((record.json + "\n").utf8), to: descriptor, path)
    }

    /// Makes all records durable.
    public func synchronize() throws(FileFailure) {
        guard fsync(descriptor) == 0 else { throw FileFailure("write", path) }
    }

    /// The records of a log, as far as they can be read. Lines that are no records are passed over.
    public static func read(_ path: String) throws(FileFailure) -> [StepRecord] {
        var records: [StepRecord] = []
        try forEachRecord(path) { record, _ in records.append(record) }
        return records
    }

    private static func lengthOfRecords(upTo step: Int, _ path: String) throws(FileFailure) -> Int {
        var length = 0
        try forEachRecord(path) { record, end in
            if record.step <= step { length = end }
        }
        return length
    }

    /// Calls `body` with each record and the offset of the line after it.
    private static func forEachRecord(_ path: String, _ body: (StepRecord, Int) -> Void) throws(FileFailure) {
        let contents: Data
        do {
            contents = try Data(contentsOf: URL(filePath: path), options: .mappedIfSafe)
        } catch {
            throw FileFailure(path, because: "cannot be read: \(error.localizedDescription)")
        }
        var start = contents.startIndex
        while let newline = contents[start...].firstIndex(of: UInt8(ascii: "\n")) {
            if let record = StepRecord(json: contents[start..<newline]) { body(record, newline + 1) }
            start = newline + 1
        }
    }
}
