import Foundation
import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionData

/// Data sets of codes, and batches of image tokens.
@Suite struct CodeDatasetTests {
    private static let codes = 40
    private let directory: TemporaryDirectory
    private let dataset: PackedDataset
    private var model: ModelConfiguration {
        let tokens = dataset.manifest.tokens
        return ModelConfiguration(
            layers: 1, width: 32, heads: 2, feedForward: 48, vocabulary: tokens.vocabulary, patchSize: 2,
            imageChannels: 3,
            imageHeight: 2, imageWidth: 3, beginOfText: tokens.beginOfText, endOfText: tokens.endOfText,
            beginOfImage: tokens.beginOfImage, endOfImage: tokens.endOfImage
        ).withImageTokens(codes: Self.codes)
    }

    init() throws {
        directory = try TemporaryDirectory()
        dataset = try Self.made(in: directory.file("set"))
    }

    private static func code(_ image: Int, _ place: Int) -> Int { (7 * image + 11 * place) % codes }

    /// Twelve pairs and an edit.
    /// - Parameter highest: Takes the place of the last code of the last image.
    private static func made(in path: String, highest: Int? = nil) throws -> PackedDataset {
        let writer = try DatasetWriter(
            try UnfinishedDirectory(path), image: .init(codes: codes, height: 2, width: 3),
            tokenizer: try Tokenizer(path: Fixtures.path("tokenizer/small.model")), description: "made by a test")
        writer.beginSplit("train")
        for index in 0..<12 {
            var numbers = (0..<6).map { code(index, $0) }
            if let highest, index == 11 { numbers[5] = highest }
            let bytes = numbers.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
            try writer.addPair(key: "\(index)", caption: "red circle \(index)", image: try writer.add(image: bytes))
        }
        try writer.addPair(key: "edit", caption: "make it blue", image: 3, original: 2)
        for index in 0..<20 { try writer.addDocument("text \(index) is the quality of being white") }
        _ = try writer.finish()
        return try PackedDataset(path)
    }

    @Test func codesComeBackAndAreChecked() throws {
        #expect(dataset.manifest.version == 3 && dataset.manifest.image.codes == 40)
        #expect(PackedDataset.verify(dataset.path).isEmpty)
        for index in 0..<12 {
            #expect(try dataset.image(index) == (0..<6).map { Float(Self.code(index, $0)) })
        }
        let broken = try Self.made(in: directory.file("broken"), highest: Self.codes)
        let problems = PackedDataset.verify(broken.path).map(\.description)
        #expect(problems.count == 1 && problems[0].contains("image 11 has the code 40 of 40"), "\(problems)")
        let manifest = broken.path + "/manifest.json"
        let text = try String(contentsOfFile: manifest, encoding: .utf8)
        for (old, new) in [("\"codes\" : 40,", ""), ("\"codes\" : 40", "\"codes\" : 1")] {
            let changed = text.replacingOccurrences(of: old, with: new)
            #expect(changed != text)
            try sealed(changed).write(toFile: manifest, atomically: true, encoding: .utf8)
            #expect(throws: DataError.self, "\(new)") { try PackedDataset(broken.path) }
        }
    }

    /// A manifest's text with the digest that belongs to it.
    private func sealed(_ text: String) throws -> String {
        let old = try DatasetManifest.read(dataset.path + "/manifest.json").digest
        let own = text.firstMatch(of: /"digest" : "([0-9a-f]{64})",\s+"documents"/).map { String($0.1) } ?? old
        let zeros = String(repeating: "0", count: 64)
        let zeroed = text.replacingOccurrences(of: own, with: zeros)
        return text.replacingOccurrences(of: own, with: SHA256.hexDigest(Array(zeroed.utf8)))
    }

    /// Every token but the first of a document is a target, and images stand in the documents as ids after those of text.
    @Test func imagesAreRowsLikeText() throws {
        var settings = BatchSettings(sequenceLength: 48, globalSequences: 4, seed: 3)
        settings.captionDropout = 0.2
        let source = try BatchSource(dataset: dataset, settings: settings, model: model)
        let text = Int32(dataset.manifest.tokens.vocabulary)
        var images: Set<[Int32]> = []
        var originals = 0
        for step in 0..<30 {
            let batch = try source.microBatch(step: step, sequences: 0..<4), layout = batch.layout
            let counts = try source.counts(step: step)
            #expect(counts.targets == layout.targetCount && layout.imageStarts.isEmpty && batch.images.isEmpty)
            #expect(layout.visibleEnd == (1...Int32(layout.count)).map(\.self))
            for row in 0..<layout.count {
                let isLast = row + 1 == layout.count || layout.positions[row + 1] == 0
                #expect(layout.targets[row] == (isLast ? -1 : layout.tokens[row + 1]))
            }
            let starts = layout.tokens.indices.filter { layout.tokens[$0] == model.beginOfImage }
            for start in starts {
                images.insert(layout.tokens[start + 1...start + 6].map { $0 - text })
                #expect(layout.tokens[start + 7] == model.endOfImage)
            }
            #expect(layout.tokens.count { $0 >= text } == 6 * starts.count)
            #expect(starts.count == counts.images + counts.originals)
            originals += counts.originals
        }
        #expect(images == Set((0..<12).map { image in (0..<6).map { Int32(Self.code(image, $0)) } }))
        #expect(originals > 0)
        let first = try source.microBatch(step: 2, sequences: 1..<3),
            whole = try source.microBatch(step: 2, sequences: 0..<4)
        #expect(first.layout.tokens[...] == whole.layout.tokens[48..<144])
    }

    @Test func otherModelsAreRefused() throws {
        let settings = BatchSettings(sequenceLength: 48, globalSequences: 4, seed: 3)
        var plain = model.withoutImages
        plain.vocabulary -= Self.codes
        let tooMany = plain.withImageTokens(codes: Self.codes + 1)
        for wrong in [tooMany, plain.withImageTokens(codes: 3)] {
            #expect(throws: DataError.self) {
                try BatchSource(dataset: dataset, settings: settings, model: wrong)
            }
        }
    }
}
