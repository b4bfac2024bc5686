public import TransfusionCore
import TransfusionSupport

/// A tensor to be written to a safetensors file, made piece by piece while it is written.
public struct SafetensorsTensor {
    public let name: String
    public let type: ElementType
    public let shape: [Int]
    let fill: (Range<Int>, UnsafeMutableRawBufferPointer) throws -> Void

    public var byteCount: Int { shape.reduce(1, *) * type.byteCount }

    /// - Parameter fill: Puts the given byte range of the tensor into the buffer, which has just that size. It is
    ///   called once for each range, in order; ranges begin and end between elements.
    public init(
        _ name: String, _ type: ElementType, _ shape: [Int],
        fill: @escaping (Range<Int>, UnsafeMutableRawBufferPointer) throws -> Void
    ) {
        self.name = name
        self.type = type
        self.shape = shape
        self.fill = fill
    }

    /// A tensor that lies in memory.
    public init<Element: BitwiseCopyable>(_ name: String, _ type: ElementType, _ shape: [Int], _ elements: [Element]) {
        precondition(elements.count * MemoryLayout<Element>.stride == shape.reduce(1, *) * type.byteCount)
        self.init(name, type, shape) { range, buffer in
            elements.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range])) }
        }
    }
}

/// Writes safetensors files. Equal contents give equal files.
public struct SafetensorsWriter {
    private let fileSystem: any FileSystem
    private static let pieceBytes = 4 << 20

    public init(fileSystem: any FileSystem = POSIXFileSystem()) {
        self.fileSystem = fileSystem
    }

    /// Refuses a place where no file can be, before the work that is to be written there.
    public func checkPlace(_ path: String) throws {
        guard !path.hasSuffix("/"), (try? fileSystem.list(path)) == nil else {
            throw CheckpointError(path, "is a directory; give the name of a file")
        }
        let parent = Paths.parent(of: path)
        guard (try? fileSystem.list(parent)) != nil else {
            throw CheckpointError(path, "there is no directory \(parent); make it or choose another place")
        }
    }

    /// Writes one file, which appears under its name only when it is complete, replacing another.
    ///
    /// Like the reference writer's, the tensors are in order of falling element size, so that each is aligned, then by
    /// name.
    public func write(_ tensors: [SafetensorsTensor], metadata: [String: String] = [:], to path: String) throws {
        let temporary = path + ".partial"
        try? fileSystem.removeFile(temporary)
        do {
            try writeContents(tensors, metadata, to: temporary)
            try fileSystem.rename(temporary, to: path)
        } catch {
            try? fileSystem.removeFile(temporary)
            throw error
        }
        try fileSystem.synchronize(directory: Paths.parent(of: path))
    }

    private func writeContents(_ tensors: [SafetensorsTensor], _ metadata: [String: String], to path: String) throws {
        let tensors = tensors.sorted { (-$0.type.byteCount, $0.name) < (-$1.type.byteCount, $1.name) }
        let header = try SafetensorsHeader.encode(tensors.map { ($0.name, $0.type, $0.shape) }, metadata: metadata)
        guard header.count - 8 <= SafetensorsHeader.byteLimit else {
            throw CheckpointError(path, "would have a header of more than \(SafetensorsHeader.byteLimit) bytes")
        }
        let file = try fileSystem.create(path)
        try header.withUnsafeBytes { try file.appendAll($0) }
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceBytes, alignment: 64)
        defer { piece.deallocate() }
        for tensor in tensors {
            for start in stride(from: 0, to: tensor.byteCount, by: Self.pieceBytes) {
                let range = start..<min(start + Self.pieceBytes, tensor.byteCount)
                let buffer = UnsafeMutableRawBufferPointer(rebasing: piece[..<range.count])
                try tensor.fill(range, buffer)
                try file.appendAll(UnsafeRawBufferPointer(buffer))
            }
        }
        try file.synchronize()
        try file.close()
    }
}
