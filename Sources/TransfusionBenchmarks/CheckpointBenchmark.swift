internal import Glibc
internal import TransfusionCheckpoint
internal import TransfusionCore
public import TransfusionModels
internal import TransfusionSupport

/// What saving and loading cost on this machine, beside plain copies, writes and reads of the same bytes.
public struct CheckpointBenchmark {
    /// Seconds, and bytes where the name says so. Rates are `tensorBytes` by seconds.
    public struct Measurement: Codable, Sendable {
        public let tensorBytes: Int
        /// Copying the state once, from memory to memory, on one thread.
        public let copySeconds: Double
        /// How long an asynchronous save keeps training waiting.
        public let stallSeconds: Double
        /// From the beginning of an asynchronous save until its files are written.
        public let asynchronousSeconds: Double
        /// A synchronous save without compression, hashed, flushed and committed.
        public let writeSeconds: Double
        /// Writing the same bytes to one file in blocks of 1 MiB, and flushing it: what `dd conv=fsync` does.
        public let plainWriteSeconds: Double
        /// Loading every tensor, verified, from the disk.
        public let readSeconds: Double
        /// Reading the same bytes from the disk in blocks of 1 MiB: what `dd` does.
        public let plainReadSeconds: Double
        /// A synchronous save with zstd level 1.
        public let compressedSeconds: Double
        public let compressedBytes: Int
        /// Loading the compressed checkpoint.
        public let compressedReadSeconds: Double

        /// The stall of an asynchronous save in copies of the state.
        public var stallCopies: Double { stallSeconds / copySeconds }
        /// The rate of a synchronous save as a share of plain writing.
        public var writeShare: Double { plainWriteSeconds / writeSeconds }
        /// The rate of loading as a share of plain reading.
        public var readShare: Double { plainReadSeconds / readSeconds }
    }

    private let directory: String
    private let model: ModelConfiguration
    private let repetitions: Int
    private let options = CheckpointOptions()

    /// - Parameters:
    ///   - directory: A new directory on the disk to be measured. It needs room for three times 12 bytes a parameter.
    ///   - model: Whose weights and moments are saved; the numbers in them are made up.
    ///   - repetitions: How often everything is measured; the medians count.
    public init(directory: String, model: ModelConfiguration, repetitions: Int) {
        precondition(repetitions > 0)
        self.directory = directory
        self.model = model
        self.repetitions = repetitions
    }

    /// Measures everything, and removes what it wrote.
    /// - Parameters:
    ///   - between: Called before each repetition, for another program that is measured in turn.
    ///   - progress: Called with what is being measured, and the numbers of measurements done and in all.
    public func run(
        between: () throws -> Void = {}, progress: (String, Int, Int) -> Void = { _, _, _ in }
    ) throws -> Measurement {
        let files = POSIXFileSystem()
        try files.createDirectory(directory)
        defer { try? files.removeDirectory(directory) }
        let state = State(model)
        let copy = try StagingBuffer(capacity: state.byteCount)
        copy.populate()
        let (seconds, compressedBytes) = try measureInTurn(state, copy, between: between, progress: progress)
        let asynchronous = try measureAsynchronously(state, Paths.join(directory, "asynchronous"))
        func median(_ name: String) -> Double { Self.median(seconds[name] ?? []) }
        return Measurement(
            tensorBytes: state.byteCount, copySeconds: median("copy"), stallSeconds: asynchronous.stall,
            asynchronousSeconds: asynchronous.write, writeSeconds: median("write"),
            plainWriteSeconds: median("plain write"), readSeconds: median("read"),
            plainReadSeconds: median("plain read"), compressedSeconds: median("compressed write"),
            compressedBytes: compressedBytes, compressedReadSeconds: median("compressed read"))
    }

    /// Everything but the asynchronous save, in turn.
    /// - Returns: Seconds of each repetition by name, and the bytes of the compressed checkpoint.
    private func measureInTurn(
        _ state: State, _ copy: StagingBuffer, between: () throws -> Void, progress: (String, Int, Int) -> Void
    ) throws -> (seconds: [String: [Double]], compressedBytes: Int) {
        var seconds: [String: [Double]] = [:]
        var compressedBytes = 0
        var done = 0
        func measure(_ name: String, _ body: () throws -> Double?) throws {
            progress(name, done, repetitions * 7)
            let begin = ContinuousClock.now
            let own = try body()
            seconds[name, default: []].append(own ?? begin.duration(to: .now) / .seconds(1))
            done += 1
        }
        let plain = Paths.join(directory, "plain")
        let store = CheckpointStore(Paths.join(directory, "checkpoints"), options: options)
        var packedOptions = options
        packedOptions.compressionLevel = 1
        let packed = CheckpointStore(Paths.join(directory, "packed"), options: packedOptions)
        let files = POSIXFileSystem()
        defer {
            for path in [store.path(of: 1), store.directory, packed.path(of: 1), packed.directory] {
                try? files.removeTree(path)
            }
            try? files.removeFile(plain)
        }
        for _ in 0..<repetitions {
            try between()
            try measure("copy") {
                let begin = ContinuousClock.now
                copy.memory.copyMemory(from: UnsafeRawBufferPointer(state.memory))
                return begin.duration(to: .now) / .seconds(1)
            }
            try measure("plain write") {
                try? files.removeFile(plain)
                let begin = ContinuousClock.now
                try state.writePlainly(to: plain)
                return begin.duration(to: .now) / .seconds(1)
            }
            try measure("plain read") {
                Self.evict(plain)
                return try state.readPlainly(plain)
            }
            try files.removeFile(plain)
            try measure("write") {
                try store.save(step: 1, metadata: State.metadata, pieces: state.pieces)
                return nil
            }
            try measure("read") { try load(store, state) }
            try measure("compressed write") {
                compressedBytes = try packed.save(step: 1, metadata: State.metadata, pieces: state.pieces).storedBytes
                return nil
            }
            try measure("compressed read") { try load(packed, state) }
        }
        return (seconds, compressedBytes)
    }

    private func load(_ store: CheckpointStore, _ state: State) throws -> Double {
        let checkpoint = try store.open(step: 1)
        for name in checkpoint.files.keys { Self.evict(Paths.join(checkpoint.path, name)) }
        let begin = ContinuousClock.now
        try checkpoint.read(state.requests)
        return begin.duration(to: .now) / .seconds(1)
    }

    private func measureAsynchronously(_ state: State, _ directory: String) throws -> (stall: Double, write: Double) {
        let store = CheckpointStore(directory, options: options)
        defer {
            try? store.fileSystem.removeTree(store.path(of: 1))
            try? store.fileSystem.removeDirectory(directory)
        }
        var stalls: [Double] = []
        var writes: [Double] = []
        var failure: CheckpointError?
        let saver = CheckpointSaver(store) { event in
            switch event {
            case .saved(let report):
                stalls.append(report.stallSeconds)
                writes.append(report.writeSeconds)
            case .failed(_, let error): failure = error
            case .skipped: break
            }
        }
        // A run has the memory long before its first save.
        try saver.prepare(for: state.pieces)
        saver.finishPreparing()
        for _ in 0..<repetitions {
            try saver.save(step: 1, metadata: State.metadata, pieces: state.pieces)
            // As a run does, which trains meanwhile and commits when all is written.
            let saves = stalls.count
            while stalls.count == saves, failure == nil {
                usleep(1000)
                try saver.poll()
            }
            if let failure { throw failure }
        }
        return (Self.median(stalls), Self.median(writes))
    }

    /// Makes the kernel forget a file's pages, so that the next read comes from the disk.
    private static func evict(_ path: String) {
        let descriptor = Glibc.open(path, O_RDONLY)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
        close(descriptor)
    }

    private static func median(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.sorted()[values.count / 2]
    }

    /// Weights and moments of a model: normal numbers.
    private final class State {
        static let metadata = CheckpointMetadata(model: .object([:]))
        static let block = 1 << 20

        let memory: UnsafeMutableRawBufferPointer
        let boxes: [TensorBox]
        var byteCount: Int { memory.count }

        init(_ model: ModelConfiguration) {
            let shapes = model.parameterShapes.sorted { $0.key < $1.key }
            boxes = ["", "optimizer.exp_avg.", "optimizer.exp_avg_sq."].flatMap { prefix in
                shapes.map { TensorBox(name: prefix + $0.key, type: .f32, shape: $0.value) }
            }
            memory = .allocate(byteCount: boxes.reduce(0) { $0 + $1.byteCount }, alignment: 4096)
            Philox(seed: 1, purpose: .weights).fillNormal(memory.bindMemory(to: Float.self), standardDeviation: 0.02)
        }

        deinit { memory.deallocate() }

        private func parts() -> [(TensorBox, UnsafeMutableRawBufferPointer)] {
            var offset = 0
            return boxes.map { box in
                defer { offset += box.byteCount }
                return (box, UnsafeMutableRawBufferPointer(rebasing: memory[offset..<offset + box.byteCount]))
            }
        }

        var pieces: [ShardPiece] { parts().map { ShardPiece($0, memory: UnsafeRawBufferPointer($1)) } }
        var requests: [ReadRequest] { parts().map { ReadRequest($0, into: $1) } }

        func writePlainly(to path: String) throws {
            let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL, 0o666)
            guard descriptor >= 0 else { throw FileSystemError("create", path, errno) }
            defer { close(descriptor) }
            for start in stride(from: 0, to: memory.count, by: Self.block) {
                let part = memory[start..<min(start + Self.block, memory.count)]
                guard write(descriptor, memory.baseAddress! + start, part.count) == part.count else {
                    throw FileSystemError("write", path, errno)
                }
            }
            if fsync(descriptor) != 0 { throw FileSystemError("flush", path, errno) }
        }

        func readPlainly(_ path: String) throws -> Double {
            let file = try POSIXFileSystem().open(path)
            let block = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.block, alignment: 4096)
            defer { block.deallocate() }
            let begin = ContinuousClock.now
            for offset in stride(from: 0, to: file.byteCount, by: Self.block) {
                _ = try file.read(block, at: offset)
            }
            return begin.duration(to: .now) / .seconds(1)
        }
    }
}
