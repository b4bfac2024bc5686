public import Glibc
public import TransfusionCore
import TransfusionSupport

/// How checkpoints are written and read.
public struct CheckpointOptions: Sendable {
    /// The zstd level, or `nil` to store elements as they are.
    public var compressionLevel: Int?
    /// Bytes of a box per chunk: the unit of compression, verification and memory.
    public var chunkBytes: Int
    /// Threads that hash and compress, or verify and unpack.
    public var threads: Int
    /// The file with the key that checkpoints are encrypted with, or `nil` to write them in the clear. A run has it in
    /// its configuration; what reads or copies checkpoints takes it from the environment variable
    /// `TRANSFUSION_KEY_FILE`.
    public var keyFile: String?
    /// Whether a save makes the directory that holds the store as well. Not in a run: where its directory was removed, none
    /// is made in its place.
    public var makesParents: Bool

    public init(
        compressionLevel: Int? = nil, chunkBytes: Int = 8 << 20, threads: Int? = nil,
        keyFile: String? = getenv("TRANSFUSION_KEY_FILE").map { String(cString: $0) }, makesParents: Bool = true
    ) {
        precondition(chunkBytes > 0 && chunkBytes % 8 == 0 && chunkBytes <= Manifest.chunkByteLimit)
        self.compressionLevel = compressionLevel
        self.chunkBytes = chunkBytes
        self.threads = threads ?? Pipeline.defaultThreads
        self.keyFile = keyFile
        self.makesParents = makesParents
    }

    /// Refuses a key file that cannot be read or holds no key, before anything depends on it.
    public func checkKey() throws {
        _ = try encryptionKey()
    }

    func encryptionKey() throws -> EncryptionKey? { try keyFile.map { try EncryptionKey(file: $0) } }
}

/// The checkpoints of a run: `step-NNNNNNNN` directories in one directory.
///
/// A checkpoint counts only when its directory has its final name and its manifest's digest holds. While one is written
/// its directory is `step-N.partial`; a bad one becomes `step-N.corrupt`; one that is being deleted, `step-N.trash`;
/// one that is being replaced by another save of its step, `step-N.replaced`; one of a branch that the run has left,
/// `step-N.aside-K`.
public struct CheckpointStore: Sendable {
    public let directory: String
    public var options: CheckpointOptions
    public let fileSystem: any FileSystem

    public init(
        _ directory: String, options: CheckpointOptions = CheckpointOptions(),
        fileSystem: any FileSystem = POSIXFileSystem()
    ) {
        self.directory = directory
        self.options = options
        self.fileSystem = fileSystem
    }

    /// The steps that have a directory with its final name, ascending. They may still be damaged.
    public func steps() throws -> [Int] { try names().compactMap(Self.step(ofName:)).sorted() }

    /// The names of checkpoints that were found damaged and renamed.
    public func damagedNames() throws -> [String] {
        try names().filter { $0.hasPrefix("step-") && $0.contains(".corrupt") }.sorted()
    }

    func names() throws -> [String] {
        do {
            return try fileSystem.list(directory)
        } catch {
            if error.isMissing { return [] }
            throw error
        }
    }

    /// Opens a checkpoint. Its manifest is checked now, its tensors as they are read.
    public func open(step: Int) throws -> Checkpoint {
        try Checkpoint(path(step), options: options, fileSystem: fileSystem)
    }

    /// The directory of a checkpoint.
    public func path(of step: Int) -> String { path(step) }

    func path(_ step: Int, _ suffix: String = "") -> String { Paths.join(directory, Self.name(step) + suffix) }

    static func name(_ step: Int) -> String {
        let digits = String(step)
        return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    static func step(ofName name: String) -> Int? {
        guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0, Self.name(step) == name else {
            return nil
        }
        return step
    }
}

/// Why a checkpoint was not used, and what became of it.
public struct SkippedCheckpoint: Sendable, Equatable, CustomStringConvertible {
    public let step: Int
    public let problem: String
    /// The name that it has now, when it could be put aside.
    public let putAside: String?

    public var description: String {
        "skipping the checkpoint of step \(step): \(problem)" + (putAside.map { "; it is now \($0)" } ?? "")
    }
}

extension CheckpointStore {
    /// The newest checkpoint that verifies, or `nil` when there is none.
    ///
    /// Every rank calls it; the ranks share the work of verifying. A damaged checkpoint is renamed to `step-N.corrupt`,
    /// so that it is not tried again and can be looked at. One that cannot be read (a missing permission or key, a disk or a
    /// server that gives errors, a version of the format that is not known here) may be good: it stays as it is, and the
    /// error reaches all ranks.
    /// - Parameters:
    ///   - puttingAside: Whether damaged checkpoints are renamed. Readers that do not own the run leave them; they get a
    ///     checkpoint that can be read to its end even if the run removes it meanwhile.
    ///   - report: Called on every rank for each checkpoint that was skipped.
    public func newestVerified(
        collectives: any Collectives = SingleRank(), puttingAside: Bool = true,
        report: (SkippedCheckpoint) -> Void
    ) throws -> Checkpoint? {
        if puttingAside { try agree(collectives) { try healReplacements() } }
        listing: while true {
            for step in try broadcast(collectives, { try self.steps() }).reversed() {
                var checkpoint: Checkpoint?
                switch try verdict(on: step, collectives, isReader: !puttingAside, opened: &checkpoint) {
                case .good: return checkpoint
                case .gone: continue listing
                case .damaged(let problem):
                    let name = try broadcast(collectives) { puttingAside ? renameDamaged(step) : nil }
                    report(SkippedCheckpoint(step: step, problem: problem.description, putAside: name))
                }
            }
            return nil
        }
    }

    private enum Verdict: Codable {
        case good, damaged(CheckpointError)
        /// Removed since it was listed, as retention does when there is a newer one.
        case gone
    }

    /// What all ranks together find out about a checkpoint.
    /// - Parameter isReader: Whether the run may go on meanwhile: then the checkpoint's files are held open.
    private func verdict(
        on step: Int, _ collectives: any Collectives, isReader: Bool, opened: inout Checkpoint?
    ) throws -> Verdict {
        // An error here is one of reading; damage is a finding.
        let findings = try gather(collectives) { () -> Verdict in
            do {
                var checkpoint = try open(step: step)
                if isReader { checkpoint = try checkpoint.holdingFiles() }
                try checkpoint.verify(part: collectives.rank, of: collectives.size)
                opened = checkpoint
                return .good
            } catch  where isReader && isGone(step) {
                return .gone
            } catch let error as FileSystemError where !error.isAboutContents {
                throw CheckpointError(
                    error.path,
                    "cannot \(error.operation): \(error.reason); the checkpoint of step \(step) may be good, so it is left "
                        + "alone; make it readable, or move it away to continue without it", reason: .system(error.code)
                )
            } catch let error as CheckpointError where error.reason != .contents {
                // It may be good: what cannot be read without its key, or by this version, or now, is not damaged.
                throw error
            } catch {
                return .damaged(CheckpointError(error, at: path(step)).onRank(of: collectives))
            }
        }
        return try broadcast(collectives) {
            try findings.get().first { if case .good = $0 { false } else { true } } ?? .good
        }
    }

    /// Whether there is no checkpoint of a step any more.
    private func isGone(_ step: Int) -> Bool {
        guard let names = try? fileSystem.list(directory) else { return false }
        return !names.contains(Self.name(step))
    }

    private func renameDamaged(_ step: Int) -> String? {
        let taken = Set((try? fileSystem.list(directory)) ?? [])
        let candidates = ["corrupt"] + (2..<1000).map { "corrupt-\($0)" }
        guard let suffix = candidates.first(where: { !taken.contains(Self.name(step) + "." + $0) }) else { return nil }
        let path = path(step, "." + suffix)
        do {
            try fileSystem.rename(self.path(step), to: path)
            try fileSystem.synchronize(directory: directory)
            return Paths.name(of: path)
        } catch {
            return nil
        }
    }

    /// Completes what a crash interrupted between the two renames of a replacement.
    func healReplacements() throws {
        guard let names = try? fileSystem.list(directory) else { return }
        for name in names where name.hasSuffix(".replaced") {
            let final = String(name.dropLast(".replaced".count))
            guard Self.step(ofName: final) != nil else { continue }
            if names.contains(final) {
                try fileSystem.removeTree(Paths.join(directory, name))
            } else {
                try fileSystem.rename(Paths.join(directory, name), to: Paths.join(directory, final))
            }
            try fileSystem.synchronize(directory: directory)
        }
    }
}
