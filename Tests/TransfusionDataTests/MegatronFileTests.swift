import Foundation
import Testing
import _TestUtilities

@testable import TransfusionData

/// Files as Megatron-LM's IndexedDatasetBuilder writes them.
@Suite struct MegatronFileTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func bytes<Integer: FixedWidthInteger>(_ values: [Integer]) -> [UInt8] {
        values.flatMap { value in withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    }

    /// Each document is a list of sequences.
    private func write<ID: FixedWidthInteger>(_ name: String, _ documents: [[[ID]]], type: UInt8, tail: [UInt8] = [])
        throws
    {
        let sequences = documents.flatMap { $0 }
        var offsets: [Int64] = [], ends: [Int64] = [0], place: Int64 = 0
        for sequence in sequences {
            offsets.append(place)
            place += Int64(sequence.count * MemoryLayout<ID>.size)
        }
        for document in documents { ends.append(ends[ends.count - 1] + Int64(document.count)) }
        let index =
            Array("MMIDIDX\0\0".utf8) + bytes([UInt64(1)]) + [type]
            + bytes([UInt64(sequences.count), UInt64(ends.count)]) + bytes(sequences.map { Int32($0.count) })
            + bytes(offsets) + bytes(ends) + tail
        try Files.write(index, to: directory.file(name + ".idx"))
        try Files.write(sequences.flatMap { bytes($0) }, to: directory.file(name + ".bin"))
    }

    private func settings(_ names: String...) -> DatasetImport {
        var settings = DatasetImport()
        settings.megatrons = names.map { directory.file($0) }
        settings.tokenizerPath = Fixtures.path("tokenizer/small.model")
        settings.validationEvery = 0
        return settings
    }

    private func documents(_ settings: DatasetImport, _ place: String) throws -> [[Int32]] {
        _ = try settings.build(at: directory.file(place))
        let dataset = try PackedDataset(directory.file(place))
        return try (0..<dataset.manifest.documents).map { try dataset.document($0) }
    }

    @Test func idsOfEveryWidthAreTakenOver() throws {
        let tokenizer = try Tokenizer(path: Fixtures.path("tokenizer/small.model"))
        let (begin, end) = (tokenizer.beginOfText, tokenizer.endOfText)
        let texts = try ["a red circle", "blue", "two sequences of one document"].map { try tokenizer.encode($0) }
        let documents = [
            [[begin] + texts[0] + [end]], [texts[1] + [end]],
            [Array(texts[2].prefix(3)), Array(texts[2].dropFirst(3))],
        ]
        func write<ID: FixedWidthInteger>(_ name: String, _ id: ID.Type, type: UInt8) throws {
            try self.write(name, documents.map { $0.map { $0.map { ID($0) } } }, type: type)
        }
        try write("i16", Int16.self, type: 3)
        try write("i32", Int32.self, type: 4)
        try write("i64", Int64.self, type: 5)
        try write("u16", UInt16.self, type: 8)
        for name in ["i16.idx", "i32.bin", "i64", "u16"] {
            #expect(try self.documents(settings(name), "set-" + name) == texts, "\(name)")
        }
        // Bytes, and the files of a folder in order, beside texts.
        try self.write("u8", [[[UInt8(9), 10]], []], type: 1)
        #expect(try self.documents(settings("u8"), "set-u8") == [[9, 10]])
        try Files.write(Array("{\"text\": \"blue\"}\n".utf8), to: directory.file("text.jsonl"))
        var both = settings("u8", "u16")
        both.texts = [directory.file("text.jsonl")]
        #expect(try self.documents(both, "set-both") == [texts[1], [9, 10]] + texts)
    }

    @Test func whatCannotBeIsNamed() throws {
        func problem(_ settings: DatasetImport) -> String {
            do {
                _ = try settings.build(at: directory.file("none"))
                return ""
            } catch { return "\(error)" }
        }
        let good: [[[Int32]]] = [[[5, 6, 7]], [[8]]]
        try write("vocabulary", [[[Int32(5)]], [[100_000]]], type: 4)
        #expect(
            problem(settings("vocabulary")).contains("vocabulary, document 2: has an id outside of the tokenizer's")
        )
        try write("negative", [[[Int32(-1)]]], type: 4)
        #expect(problem(settings("negative")).contains("document 1: has an id outside"))
        try write("short", good, type: 4)
        try Files.write([1, 2, 3], to: directory.file("short.bin"))
        #expect(problem(settings("short")).contains("short.idx, document 1: points outside of"))
        try write("float", good, type: 7)
        #expect(problem(settings("float")).contains("has ids of type 7"))
        try write("pictures", good, type: 4, tail: [0, 1])
        #expect(problem(settings("pictures")).contains("only indexes of texts alone are read"))
        try write("cut", good, type: 4)
        try Files.write(
            [UInt8](Files.read(directory.file("cut.idx"), limit: 1000).dropLast(5)), to: directory.file("cut.idx"))
        #expect(problem(settings("cut")).contains("is cut off or damaged"))
        try Files.write(Array("owl".utf8), to: directory.file("cut.idx"))
        #expect(problem(settings("cut")).contains("is no index of Megatron-LM"))
        var without = settings("short")
        without.tokenizerPath = nil
        #expect(problem(without).hasPrefix("--megatron: needs --tokenizer"))
    }

    @Test func damagedIndexesAreReadOrRefused() throws {
        try write("whole", [[[Int32(5), 6, 7], [9]], [[8]], [], [[1, 2, 3, 4]]], type: 4)
        let index = try Files.read(directory.file("whole.idx"), limit: 1000)
        try Files.write(Files.read(directory.file("whole.bin"), limit: 1000), to: directory.file("damaged.bin"))
        var generator = Mutations(seed: 5)
        var refused = 0
        for _ in 0..<Mutations.count(default: 1000) {
            try Data(generator.mutated(index)).write(to: URL(filePath: directory.file("damaged.idx")))
            do throws(DataError) {
                let file = try MegatronFile(directory.file("damaged"))
                for document in 0..<file.documentCount {
                    var bytes: [UInt8] = []
                    try file.append(document, to: &bytes)
                }
            } catch {
                refused += 1
                #expect(error.description.hasPrefix(directory.file("damaged.idx")))
            }
        }
        #expect(refused > 300)
    }
}
