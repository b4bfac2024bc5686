import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionData

@Suite struct PackedDatasetTests {
    @Test func givesBackWhatWasWritten() throws {
        let synthetic = try SyntheticDataset()
        let dataset = synthetic.dataset
        #expect(dataset.manifest.splits.map(\.name) == ["train", "held_out"])
        #expect(try dataset.split("train").pairs == 37)
        #expect(try dataset.split("held_out").pairRange == 37..<40)
        for index in 0..<40 {
            let pair = try dataset.pair(index)
            #expect(try dataset.captionText(pair) == synthetic.captions[index])
            #expect(pair.variantOf == (index < 37 ? nil : 0))
            let image = try dataset.image(pair.image)
            let expected = (0..<image.count).map {
                Float(SyntheticDataset.value(image: index, place: $0)) / 127.5 - 1
            }
            #expect(zip(image, expected).allSatisfy { abs($0 - $1) < 1e-6 })
        }
        for (index, text) in synthetic.texts.enumerated() {
            #expect(try dataset.tokenizer.decode(dataset.document(index)) == text)
        }
        #expect(try dataset.keys() == (0..<40).map { "key \($0)" })
        #expect(PackedDataset.verify(synthetic.path).isEmpty)
    }

    @Test func storesLatents() throws {
        for element in [DatasetManifest.PixelType.bf16, .f32] {
            let dataset = try SyntheticDataset(element: element).dataset
            let image = try dataset.image(2)
            // 0 … 255 fit bf16's 8 bits of precision.
            #expect(image == (0..<image.count).map { Float(SyntheticDataset.value(image: 2, place: $0)) })
        }
    }

    @Test func sameContentsHaveTheSameDigest() throws {
        let digest = try SyntheticDataset().dataset.manifest.digest
        #expect(try SyntheticDataset().dataset.manifest.digest == digest)
        #expect(try SyntheticDataset(pairs: 36).dataset.manifest.digest != digest)
    }

    @Test func indicesOutsideAreRefused() throws {
        let dataset = try SyntheticDataset().dataset
        for index in [-1, 40, Int.max / 64] {
            #expect(throws: DataError.self) { try dataset.pair(index) }
            #expect(throws: DataError.self) { try dataset.image(index) }
        }
        for index in [-1, 60, Int.max / 64] { #expect(throws: DataError.self) { try dataset.document(index) } }
        #expect { try dataset.split("test") } throws: { "\($0)".contains("train, held_out") }
    }

    @Test func onlyWhatIsNotThereIsCalledAbsent() throws {
        let directory = try TemporaryDirectory()
        #expect { try PackedDataset(directory.file("none")) } throws: { "\($0)".contains("is no data set") }
        // A link to itself can be opened by nobody, not even by root.
        try FileManager.default.createSymbolicLink(
            atPath: directory.file("loop"), withDestinationPath: directory.file("loop"))
        #expect { try PackedDataset(directory.file("loop")) } throws: {
            "\($0)".contains("loop/manifest.json: cannot be opened: Too many levels")
        }
    }

    @Test func nothingIsOverwritten() throws {
        let synthetic = try SyntheticDataset()
        #expect {
            try UnfinishedDirectory(synthetic.path)
        } throws: { "\($0)".contains("exists already") }
        #expect(PackedDataset.verify(synthetic.path).isEmpty)
    }

    @Test func anUnfinishedDatasetLeavesNothing() throws {
        let directory = try TemporaryDirectory()
        let tokenizer = try Tokenizer(path: TokenizerTests.fixtures + "/small.model")
        do {
            let writer = try DatasetWriter(
                try UnfinishedDirectory(directory.file("set")),
                image: .init(channels: 3, height: 8, width: 8, element: .u8), tokenizer: tokenizer, description: "")
            writer.beginSplit("train")
            try writer.addDocument("red")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test(arguments: PackedDataset.FileName.all + ["manifest.json"])
    func everyDamageIsFound(_ name: String) throws {
        let synthetic = try SyntheticDataset()
        let file = synthetic.path + "/" + name
        let whole = try #require(FileManager.default.contents(atPath: file))
        for place in [0, whole.count / 2, whole.count - 1] {
            var damaged = whole
            damaged[place] ^= 0x10
            try damaged.write(to: URL(filePath: file))
            let problems = PackedDataset.verify(synthetic.path)
            #expect(problems.count == 1 && problems[0].description.contains(name), "bit flip at \(place): \(problems)")
        }
        try whole.dropLast(1).write(to: URL(filePath: file))
        #expect(PackedDataset.verify(synthetic.path).count == 1)
        #expect(throws: DataError.self) {
            // Keys are read on demand.
            _ = try PackedDataset(synthetic.path).keys()
        }
        try FileManager.default.removeItem(atPath: file)
        let problems = PackedDataset.verify(synthetic.path)
        #expect(problems.count == 1 && problems[0].description.contains(name))
        try whole.write(to: URL(filePath: file))
        #expect(PackedDataset.verify(synthetic.path).isEmpty)
    }

    @Test(arguments: [
        ("\"pairs\" : 40", "\"pairs\" : 4611686018427387904"), ("\"images\" : 40", "\"images\" : 41"),
        ("\"documents\" : 60", "\"documents\" : -1"), ("\"height\" : 8", "\"height\" : 9223372036854775807"),
        ("\"first_pair\" : 37", "\"first_pair\" : 38"), ("\"vocabulary\" : 402", "\"vocabulary\" : 0"),
        ("\"bytes\" : 2", "\"bytes\" : 0"), ("\"version\" : 1", "\"version\" : 2"),
        ("\"version\" : 1", "\"version\" : 3"), ("\"first_pair\" : 37", "\"edits\" : 2, \"first_pair\" : 37"),
        ("\"longest_caption\" : ", "\"longest_caption\" : 999999999999999999"),
        ("\"format\" : \"transfusion-dataset\"", "\"format\" : \"other\""), ("\"images\"", "\"pictures\""),
    ])
    func manifestsThatLieAreRefused(_ change: (from: String, to: String)) throws {
        let synthetic = try SyntheticDataset()
        let file = synthetic.path + "/manifest.json"
        var text = try String(contentsOfFile: file, encoding: .utf8)
        let before = text
        text = text.replacing(change.from, with: change.to)
        #expect(text != before)
        // Sealed again, so that only the lie itself can be what is found.
        let zeros = String(repeating: "0", count: 64)
        text = text.replacing(synthetic.dataset.manifest.digest, with: zeros)
        text = text.replacing(zeros, with: SHA256.hexDigest([UInt8](text.utf8)))
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        #expect { try PackedDataset(synthetic.path) } throws: { "\($0)".contains(synthetic.path) }
    }

    @Test func anotherTokenizerIsRefused() throws {
        let dataset = try SyntheticDataset().dataset
        let other = try TokenizerTraining(on: TokenizerCorpus(["red circle", "blue square"]), pieces: 280).tokenizer
        #expect { try dataset.checkTokenizer(other) } throws: { "\($0)".contains(dataset.path) }
        try dataset.checkTokenizer(dataset.tokenizer)
    }

    @Test func aMissingDatasetSaysHowToMakeOne() throws {
        #expect {
            try PackedDataset("/nowhere")
        } throws: {
            "\($0)".contains("tf-data emoji --out /nowhere") && "\($0)".contains("tf-data import --out /nowhere")
        }
        let directory = try TemporaryDirectory()
        let pictures = directory.file("pictures"), texts = directory.file("texts.jsonl")
        try FileManager.default.createDirectory(atPath: pictures, withIntermediateDirectories: true)
        #expect { try PackedDataset(pictures) } throws: { "\($0)".contains("make one elsewhere with 'tf-data import'") }
        for file in [pictures + "/metadata.jsonl", texts] { try Data("{}".utf8).write(to: URL(filePath: file)) }
        #expect { try PackedDataset(pictures) } throws: { "\($0)".contains("tf-data import --folder \(pictures)'") }
        #expect { try PackedDataset(texts) } throws: { "\($0)".contains("tf-data import --jsonl \(texts)'") }
    }
}
