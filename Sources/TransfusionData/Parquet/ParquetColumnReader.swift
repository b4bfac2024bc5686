internal import CDeflate

/// The values of one column of a Parquet file, page by page.
struct ParquetColumnReader {
    struct Entry {
        /// 0 where a row begins.
        let repetition: Int
        let definition: Int
        /// nil where the definition level says that it is missing.
        let value: ParquetValue?
    }

    /// More is no page that a writer makes; a damaged file may claim anything.
    private static let largestPage = 1 << 30
    private static let largestHeader = 1 << 20
    private static let codecs: [Int32: String] = [
        0: "UNCOMPRESSED", 1: "SNAPPY", 2: "GZIP", 3: "LZO", 4: "BROTLI", 5: "LZ4", 6: "ZSTD", 7: "LZ4_RAW",
    ]

    private let file: MappedFile
    private let metadata: ParquetMetadata
    private let leaf: ParquetLeaf
    private let end: Int
    private var nextGroup = 0
    // The column's part of a row group.
    private var chunk = ParquetMetadata.ColumnChunk()
    private var place = 0
    private var chunkEnd = 0
    private var valuesInChunk = 0
    private var dictionary: [ParquetValue]?
    // The page.
    private var valuesInPage = 0
    private var repetitions: ParquetRunDecoder?
    private var definitions: ParquetRunDecoder?
    private var encoding: Int32 = 0
    private var pageBytes: ArraySlice<UInt8> = []
    private var decoder: ParquetValueDecoder?

    /// - Parameter end: Where the file's metadata begin.
    init(_ file: MappedFile, _ metadata: ParquetMetadata, _ leaf: ParquetLeaf, end: Int) {
        self.file = file
        self.metadata = metadata
        self.leaf = leaf
        self.end = end
    }

    private func error(_ problem: String) -> DataError {
        DataError(file.path, "column \(leaf.name): \(problem)")
    }

    private func damage() -> DataError {
        error("the data before byte \(place) are damaged; write the file again")
    }

    /// The next value; nil at the end.
    mutating func next() throws(DataError) -> Entry? {
        while valuesInPage == 0 {
            while valuesInChunk == 0 {
                guard nextGroup < metadata.rowGroups.count else { return nil }
                try enterGroup()
            }
            try enterPage()
        }
        valuesInPage -= 1
        valuesInChunk -= 1
        do throws(ThriftReader.Damage) {
            let repetition = try repetitions?.next() ?? 0
            let definition = try definitions?.next() ?? leaf.definition
            guard repetition <= leaf.repetition, definition <= leaf.definition else { throw .init() }
            guard definition == leaf.definition else {
                return Entry(repetition: repetition, definition: definition, value: nil)
            }
            if decoder == nil { decoder = try makeDecoder() }
            return Entry(repetition: repetition, definition: definition, value: try decoder?.next(leaf))
        } catch {
            throw damage()
        }
    }

    private func makeDecoder() throws(ThriftReader.Damage) -> ParquetValueDecoder {
        guard let decoder = try ParquetValueDecoder(encoding, pageBytes, leaf.type, dictionary) else { throw .init() }
        return decoder
    }

    private mutating func enterGroup() throws(DataError) {
        let group = metadata.rowGroups[nextGroup]
        nextGroup += 1
        guard group.columns.indices.contains(leaf.index), group.columns[leaf.index].type == leaf.type else {
            throw damage()
        }
        chunk = group.columns[leaf.index]
        guard !chunk.isElsewhere else { throw error("lies in another file or is encrypted, which is not read") }
        guard [0, 1, 2, 6].contains(chunk.codec) else {
            let name = Self.codecs[chunk.codec] ?? "number \(chunk.codec)"
            throw error("the compression \(name) is not read; write it with SNAPPY, GZIP, ZSTD or none")
        }
        // Old writers give 0 where there is no dictionary.
        let offsets = [chunk.dictionaryOffset ?? 0, chunk.dataOffset].filter { $0 > 0 }
        guard let start = offsets.min(), chunk.compressedBytes >= 0, start <= end,
            chunk.compressedBytes <= end - start, chunk.values >= 0,
            leaf.repetition > 0 || chunk.values == group.rows
        else { throw damage() }
        place = start
        chunkEnd = start + chunk.compressedBytes
        valuesInChunk = chunk.values
        dictionary = nil
    }

    private mutating func enterPage() throws(DataError) {
        let header: ParquetPageHeader
        do throws(ThriftReader.Damage) {
            header = try ParquetPageHeader(
                UnsafeRawBufferPointer(rebasing: file.bytes[place..<min(chunkEnd, place + Self.largestHeader)]))
        } catch {
            throw damage()
        }
        place += header.length
        guard header.compressedBytes <= chunkEnd - place, header.uncompressedBytes <= Self.largestPage else {
            throw damage()
        }
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[place..<place + header.compressedBytes])
        place += header.compressedBytes
        if let checksum = header.checksum, header.kind != .index {
            guard libdeflate_crc32(0, bytes.baseAddress, bytes.count) == checksum else {
                throw error("the page before byte \(place) does not match its checksum; write the file again")
            }
        }
        switch header.kind {
        case .index: break
        case .dictionary: try readDictionary(header, bytes)
        case .data: try enterData(header, bytes)
        case .dataVersion2: try enterVersion2(header, bytes)
        }
    }

    private func decompressed(_ bytes: UnsafeRawBufferPointer, count: Int) throws(DataError) -> [UInt8] {
        let result: [UInt8]? =
            switch chunk.codec {
            case 1: BlockDecompression.snappy(bytes, count: count)
            case 2: BlockDecompression.gzip(bytes, count: count)
            case 6: BlockDecompression.zstd(bytes, count: count)
            default: bytes.count == count ? [UInt8](bytes) : nil
            }
        guard let result else { throw damage() }
        return result
    }

    private mutating func readDictionary(
        _ header: ParquetPageHeader, _ bytes: UnsafeRawBufferPointer
    ) throws(DataError) {
        try check(encoding: header.encoding == 2 ? 0 : header.encoding, of: "dictionary")
        guard dictionary == nil, header.encoding == 0 || header.encoding == 2, leaf.type != .boolean else {
            throw damage()
        }
        let page = try decompressed(bytes, count: header.uncompressedBytes)
        // Each value takes a byte at least.
        guard header.values <= page.count else { throw damage() }
        do throws(ThriftReader.Damage) {
            guard var decoder = try ParquetValueDecoder(0, page[...], leaf.type, nil) else { throw .init() }
            var values: [ParquetValue] = []
            values.reserveCapacity(header.values)
            for _ in 0..<header.values { values.append(try decoder.next(leaf)) }
            dictionary = values
        } catch {
            throw damage()
        }
    }

    private mutating func enterData(_ header: ParquetPageHeader, _ bytes: UnsafeRawBufferPointer) throws(DataError) {
        var rest = try decompressed(bytes, count: header.uncompressedBytes)[...]
        repetitions = try levels(&rest, most: leaf.repetition, header.repetitionEncoding)
        definitions = try levels(&rest, most: leaf.definition, header.definitionEncoding)
        try begin(header, rest)
    }

    /// The levels of a page of version 1, which say themselves how long they are.
    private func levels(
        _ rest: inout ArraySlice<UInt8>, most: Int, _ encoding: Int32
    ) throws(DataError) -> ParquetRunDecoder? {
        guard most > 0 else { return nil }
        guard encoding == 3 else {
            throw error("levels in \(ParquetValueDecoder.names[encoding] ?? "an unknown encoding") are not read")
        }
        guard rest.count >= 4 else { throw damage() }
        let count = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
        rest = rest.dropFirst(4)
        return try levels(&rest, most: most, count: count)
    }

    private func levels(
        _ rest: inout ArraySlice<UInt8>, most: Int, count: Int
    ) throws(DataError) -> ParquetRunDecoder? {
        guard count <= rest.count else { throw damage() }
        defer { rest = rest.dropFirst(count) }
        guard most > 0 else { return nil }
        do throws(ThriftReader.Damage) {
            return try ParquetRunDecoder(rest.prefix(count), width: Int.bitWidth - most.leadingZeroBitCount)
        } catch {
            throw damage()
        }
    }

    private mutating func enterVersion2(
        _ header: ParquetPageHeader, _ bytes: UnsafeRawBufferPointer
    ) throws(DataError) {
        let levelBytes = header.repetitionBytes + header.definitionBytes
        guard levelBytes <= bytes.count, levelBytes <= header.uncompressedBytes else { throw damage() }
        var levels = [UInt8](bytes.prefix(levelBytes))[...]
        repetitions = try self.levels(&levels, most: leaf.repetition, count: header.repetitionBytes)
        definitions = try self.levels(&levels, most: leaf.definition, count: header.definitionBytes)
        let values = UnsafeRawBufferPointer(rebasing: bytes[levelBytes...])
        let count = header.uncompressedBytes - levelBytes
        // A page of missing values alone may have nothing to decompress.
        let isPlain = !header.isCompressed || values.isEmpty
        guard !isPlain || values.count == count else { throw damage() }
        try begin(header, isPlain ? [UInt8](values)[...] : try decompressed(values, count: count)[...])
    }

    private mutating func begin(_ header: ParquetPageHeader, _ values: ArraySlice<UInt8>) throws(DataError) {
        try check(encoding: header.encoding, of: "page")
        guard header.values <= valuesInChunk else { throw damage() }
        encoding = header.encoding
        pageBytes = values
        decoder = nil
        valuesInPage = header.values
    }

    private func check(encoding: Int32, of part: String) throws(DataError) {
        let isRead =
            switch encoding {
            case 0, 2, 8: true
            case 3: leaf.type == .boolean
            case 5: leaf.type == .int32 || leaf.type == .int64
            case 6: leaf.type == .byteArray
            case 7: leaf.type == .byteArray || leaf.type == .fixedLengthByteArray
            default: false
            }
        guard isRead else {
            let name = ParquetValueDecoder.names[encoding] ?? "number \(encoding)"
            throw error(
                "a \(part) in the encoding \(name) is not read; write the file with plain or dictionary encoding")
        }
    }
}
