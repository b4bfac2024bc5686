public import TransfusionCore

/// A safetensors file, opened for reading tensor by tensor.
///
/// The file is read, not mapped: when another process shortens it meanwhile, that is an error and no crash.
public struct SafetensorsFile: Sendable {
    public let path: String
    /// In the order of the file, but for `unreadable`.
    public let entries: [SafetensorsEntry]
    /// Names and types of tensors with elements that are not read here, such as BOOL: no matter unless one is needed.
    public let unreadable: [String: String]
    /// The free text that the writer put in.
    public let metadata: [String: String]
    private let index: [String: Int]
    private let file: any ReadableFile
    private let dataOffset: Int

    /// Opens a file and checks its header against its size.
    public init(_ path: String, fileSystem: any FileSystem = POSIXFileSystem()) throws {
        self.path = path
        file = try fileSystem.open(path)
        guard file.byteCount >= 8 else { throw CheckpointError(path, "is too short for a safetensors file") }
        var length: UInt64 = 0
        let file = file
        try withUnsafeMutableBytes(of: &length) { try file.readAll($0, at: 0, path: path) }
        length = UInt64(littleEndian: length)
        guard length <= SafetensorsHeader.byteLimit, length <= file.byteCount - 8 else {
            throw CheckpointError(path, "has a header of \(length) bytes in a file of \(file.byteCount)")
        }
        let headerBytes = Int(length)
        let json = try [UInt8](unsafeUninitializedCapacity: headerBytes) { bytes, count in
            try file.readAll(
                UnsafeMutableRawBufferPointer(start: bytes.baseAddress, count: headerBytes), at: 8, path: path)
            count = headerBytes
        }
        dataOffset = 8 + headerBytes
        let header = try SafetensorsHeader(decoding: json, dataBytes: file.byteCount - dataOffset, path: path)
        entries = header.entries
        unreadable = header.unreadable
        metadata = header.metadata
        index = Dictionary(uniqueKeysWithValues: header.entries.enumerated().map { ($1.name, $0) })
    }

    public subscript(name: String) -> SafetensorsEntry? { index[name].map { entries[$0] } }

    /// - Throws: `CheckpointError` when there is no such tensor.
    public func entry(_ name: String) throws -> SafetensorsEntry {
        guard let entry = self[name] else {
            try requireReadable(name)
            throw CheckpointError(path, "has no tensor \(name)")
        }
        return entry
    }

    /// - Throws: `CheckpointError` when there is such a tensor, but of a type that is not read here.
    func requireReadable(_ name: String) throws {
        guard let type = unreadable[name] else { return }
        throw CheckpointError(
            path, "tensor \(name) has elements of \(type), which are not read; store it as F32, BF16 or F16")
    }

    /// Fills `memory` with the bytes of a tensor that begin at `offset`.
    public func read(_ entry: SafetensorsEntry, at offset: Int = 0, into memory: UnsafeMutableRawBufferPointer) throws {
        precondition(offset >= 0 && memory.count <= entry.byteCount - offset)
        try file.readAll(memory, at: dataOffset + entry.range.lowerBound + offset, path: path)
    }

    /// The elements of a tensor of the given type.
    public func elements<Element: BitwiseCopyable>(
        _ name: String, as type: ElementType, _: Element.Type = Element.self
    ) throws -> [Element] {
        let entry = try entry(name)
        guard entry.type == type, MemoryLayout<Element>.stride == type.byteCount else {
            throw CheckpointError(path, "tensor \(name) has elements of \(entry.type), not \(type)")
        }
        let count = entry.byteCount / type.byteCount
        return try [Element](unsafeUninitializedCapacity: count) { buffer, used in
            try read(entry, into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: entry.byteCount))
            used = count
        }
    }

    /// A floating-point tensor of any width as `Float`s.
    public func floats(_ name: String) throws -> [Float] {
        let entry = try entry(name)
        switch entry.type {
        case .f32: return try elements(name, as: .f32)
        case .bf16: return try elements(name, as: .bf16, UInt16.self).map { BFloat16(bits: $0).float }
        case .f16: return try elements(name, as: .f16, Float16.self).map(Float.init)
        case .i32, .i64, .u8: throw CheckpointError(path, "tensor \(name) has elements of \(entry.type), not a float")
        }
    }
}
