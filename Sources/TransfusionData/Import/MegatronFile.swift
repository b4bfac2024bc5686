internal import TransfusionSupport

/// Documents of token ids as Megatron-LM stores them: `NAME.bin` has the ids, `NAME.idx` says where each sequence lies and which
/// sequences are a document.
///
/// Little-endian: `MMIDIDX\0\0`, version (u64), type of an id (u8), sequences and ends of documents (u64 each), length (i32) and byte
/// offset (i64) of each sequence, and the sequences before the end of each document (i64, the first is 0).
///
/// ### References
/// NVIDIA/Megatron-LM, megatron/core/datasets/indexed_dataset.py
struct MegatronFile: Sendable {
    let path: String
    let documentCount: Int
    private let index: MappedFile
    private let ids: MappedFile
    private let sequences: Int
    /// Bytes of an id.
    private let width: Int
    private let isSigned: Bool

    private static let magic = Array("MMIDIDX".utf8) + [0, 0]
    private static let headerBytes = 34
    /// Longer documents are refused.
    static let mostTokens = 1 << 26

    /// - Parameter path: The `.idx`, the `.bin`, or both without their ends.
    /// - Throws: `DataError` when it is no such pair of files.
    init(_ path: String) throws(DataError) {
        let paths = Self.paths(of: path)
        self.path = paths[0]
        index = try MappedFile(paths[0])
        ids = try MappedFile(paths[1])
        guard index.bytes.starts(with: Self.magic), let version: UInt64 = index.integer(at: 9),
            let type: UInt8 = index.integer(at: 17), let sequences: UInt64 = index.integer(at: 18),
            let ends: UInt64 = index.integer(at: 26)
        else { throw DataError(self.path, "is no index of Megatron-LM") }
        guard version == 1 else { throw DataError(self.path, "has version \(version), this program reads version 1") }
        switch type {
        case 1: (width, isSigned) = (1, false)
        case 2: (width, isSigned) = (1, true)
        case 3: (width, isSigned) = (2, true)
        case 4: (width, isSigned) = (4, true)
        case 5: (width, isSigned) = (8, true)
        case 8: (width, isSigned) = (2, false)
        default: throw DataError(self.path, "has ids of type \(type), which is no whole number; write it with int32")
        }
        let room = index.bytes.count - Self.headerBytes
        guard sequences <= room / 12, ends >= 1, ends <= room / 8 else {
            throw DataError(self.path, "is cut off or damaged; write it again")
        }
        self.sequences = Int(sequences)
        documentCount = Int(ends) - 1
        let bytes = 12 * self.sequences + 8 * Int(ends)
        guard room >= bytes else { throw DataError(self.path, "is cut off or damaged; write it again") }
        guard room == bytes else {
            throw DataError(self.path, "says of which kind each sequence is; only indexes of texts alone are read")
        }
    }

    /// The `.idx` and the `.bin`.
    static func paths(of path: String) -> [String] {
        let stem = [".idx", ".bin"].contains(where: path.hasSuffix) ? String(path.dropLast(4)) : path
        return [stem + ".idx", stem + ".bin"]
    }

    /// Appends the ids of a document, 4 bytes each.
    /// - Throws: `DataError` that names the document when it points outside of the files.
    func append(_ document: Int, to bytes: inout [UInt8]) throws(DataError) {
        let place = Self.headerBytes + 12 * sequences + 8 * document
        guard let first: Int64 = index.integer(at: place), let end: Int64 = index.integer(at: place + 8),
            0 <= first, first <= end, end <= sequences
        else { throw problem(document, "has sequences that are not there") }
        var count = 0
        for sequence in Int(first)..<Int(end) {
            guard let length: Int32 = index.integer(at: Self.headerBytes + 4 * sequence),
                let offset: Int64 = index.integer(at: Self.headerBytes + 4 * sequences + 8 * sequence),
                length >= 0, offset >= 0, offset <= ids.bytes.count,
                Int(length) <= (ids.bytes.count - Int(offset)) / width
            else { throw problem(document, "points outside of \(ids.path)") }
            count += Int(length)
            guard count <= Self.mostTokens else { throw problem(document, "has more than \(Self.mostTokens) tokens") }
            for token in 0..<Int(length) {
                let id = Int32(truncatingIfNeeded: max(-1, min(Int64(Int32.max), id(at: Int(offset) + width * token))))
                withUnsafeBytes(of: id.littleEndian) { bytes.append(contentsOf: $0) }
            }
        }
    }

    /// Takes what was read out of this process's memory.
    func forgetPages() {
        index.forgetPages()
        ids.forgetPages()
    }

    private func id(at place: Int) -> Int64 {
        func read<Integer: FixedWidthInteger>(_ type: Integer.Type) -> Int64 {
            ids.integer(at: place, as: type).map { Int64(truncatingIfNeeded: $0) } ?? -1
        }
        return switch (width, isSigned) {
        case (1, false): read(UInt8.self)
        case (1, true): read(Int8.self)
        case (2, false): read(UInt16.self)
        case (2, true): read(Int16.self)
        case (4, _): read(Int32.self)
        default: read(Int64.self)
        }
    }

    private func problem(_ document: Int, _ what: String) -> DataError {
        DataError("\(path), document \(document + 1)", "\(what); write it again")
    }
}
