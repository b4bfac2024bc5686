import Foundation
import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionData

/// Edits in data sets and in batches.
@Suite struct EditTests {
    private let directory: TemporaryDirectory
    private let dataset: PackedDataset
    /// What fits the data set: 4 patches an image.
    private let model: ModelConfiguration

    /// 20 pairs, and 30 edits with the pair before and the one after as their pictures.
    init() throws {
        let synthetic = try SyntheticDataset()
        model = synthetic.model
        directory = try TemporaryDirectory()
        let writer = try DatasetWriter(
            try UnfinishedDirectory(directory.file("set")), image: synthetic.dataset.manifest.image,
            tokenizer: synthetic.dataset.tokenizer, description: "edits of a test")
        writer.beginSplit("train")
        for index in 0..<20 {
            let image = try writer.add(image: (0..<192).map { SyntheticDataset.value(image: index, place: $0) })
            try writer.addPair(key: "pair \(index)", caption: "red circle \(index)", image: image)
        }
        for index in 0..<30 {
            try writer.addPair(
                key: "edit \(index)", caption: "make it blue \(index)", image: (index + 1) % 20, original: index % 20)
        }
        for index in 0..<40 { try writer.addDocument("text \(index) is the quality of being white") }
        _ = try writer.finish()
        dataset = try PackedDataset(directory.file("set"))
    }

    private func source(dropout: Double = 0.1, length: Int = 64) throws -> BatchSource {
        var settings = BatchSettings(sequenceLength: length, globalSequences: 6, seed: 7)
        settings.captionDropout = dropout
        return try BatchSource(dataset: dataset, settings: settings, model: model)
    }

    @Test func originalsAreStoredAndShown() throws {
        #expect(dataset.manifest.version == 2)
        #expect(dataset.manifest.splits.map(\.edits) == [30])
        #expect(try dataset.pair(19).original == nil)
        #expect(try (20..<50).map { try dataset.pair($0).original } == (0..<30).map { $0 % 20 })
        #expect(PackedDataset.verify(dataset.path).isEmpty)
        let text = try DatasetInspection(of: dataset, split: "train", samples: 50).description
        #expect(text.contains("train: 50 pairs, 30 of them edits"))
        #expect(text.contains("pair 21 [edit 1] \"make it blue 1\"") && text.contains("edit of image 1"))
        // Without edits nothing of this is there.
        let plain = try SyntheticDataset().dataset.manifest
        #expect(plain.version == 1 && plain.files["originals.index"] == nil)
    }

    @Test func anOriginalOutsideOfTheImagesIsNamed() throws {
        let path = directory.file("set/originals.index")
        var bytes = try Files.read(path, limit: 1 << 20)
        bytes[8 * 25] = 77
        try FileManager.default.removeItem(atPath: path)
        try Files.write(bytes, to: path)
        let broken = try PackedDataset(dataset.path)
        #expect { try broken.pair(25) } throws: {
            "\($0)".contains("originals.index: pair 25 points outside the images")
        }
        #expect(PackedDataset.verify(dataset.path).count == 1)
    }

    /// Every document is one of the four forms of an edit, as often as it should be, with its pictures and timesteps.
    @Test func editsHaveTheirForm() throws {
        let source = try source(dropout: 0.2)
        let patches = [Int32](repeating: -1, count: 4)
        let (bos, eos, boi, eoi) = (model.beginOfText, model.endOfText, model.beginOfImage, model.endOfImage)
        var counts = [0, 0, 0, 0]
        for step in 0..<80 {
            let batch = try source.microBatch(step: step, sequences: 0..<6)
            var image = 0
            for document in documents(batch) where document.contains(-1) {
                let pair = try dataset.pair(batch.pairs[image])
                guard let original = pair.original else {
                    image += 1
                    continue
                }
                let instruction = try dataset.caption(pair), end = [boi] + patches + [eoi, eos]
                let forms: [[Int32]] = [
                    [bos, boi] + patches + [eoi] + instruction + end, [bos, boi] + patches + [eoi] + end, [bos] + end,
                    [bos] + instruction + end,
                ]
                let form = try #require(forms.firstIndex(of: document))
                counts[form] += 1
                let shown = form < 2 ? [original, pair.image] : [pair.image]
                #expect(Array(batch.timestepLimits[image..<image + shown.count]) == (form < 2 ? [0, 1000] : [1000]))
                #expect(Set(batch.imageIndices[image..<image + shown.count]).count == 1)
                for number in shown {
                    #expect(Array(batch.images[image * 192..<(image + 1) * 192]) == (try dataset.image(number)))
                    image += 1
                }
            }
            #expect(image == batch.layout.imageCount)
        }
        let total = Double(counts.reduce(0, +))
        for (count, share) in zip(counts, [0.7, 0.1, 0.1, 0.1]) {
            #expect(abs(Double(count) / total - share) < 0.03, "\(counts)")
        }
    }

    @Test func countsAreThoseOfTheRowsAndRanksShareThem() throws {
        for endOfImageIsTarget in [false, true] {
            var model = model
            model.rowOptions.endOfImageIsTarget = endOfImageIsTarget
            let source = try BatchSource(dataset: dataset, settings: source().settings, model: model)
            for step in 0..<30 {
                let batch = try source.microBatch(step: step, sequences: 0..<6), counts = try source.counts(step: step)
                #expect(counts.targets == batch.layout.targetCount)
                #expect(counts.images == batch.timestepLimits.count { $0 > 0 })
                #expect(counts.originals == batch.timestepLimits.count { $0 == 0 })
                #expect(counts.leftOut == 0 && counts.tokens == 6 * 64)
                let parts = try [0..<1, 1..<4, 4..<6].map { try source.microBatch(step: step, sequences: $0) }
                #expect(parts.flatMap(\.images) == batch.images)
                #expect(parts.flatMap(\.imageIndices) == batch.imageIndices)
            }
        }
    }

    /// The shares of a split with edits count the patches of originals as patches.
    @Test func theRatioHoldsWithOriginals() throws {
        var settings = BatchSettings(sequenceLength: 256, globalSequences: 16, seed: 7)
        settings.textToImageRatio = 4
        let source = try BatchSource(dataset: dataset, settings: settings, model: model)
        var patches = 0, rows = 0
        for step in 0..<40 {
            let counts = try source.counts(step: step)
            patches += 4 * (counts.images + counts.originals)
            rows += counts.tokens
        }
        #expect(abs(Double(rows - patches) / Double(patches) / 4 - 1) < 0.03)
        #expect(source.shares.reason == nil)
    }

    @Test func rowsThatCannotHoldAnEditAreRefused() throws {
        let longest = try #require(dataset.manifest.splits.first).longestCaption
        #expect { try source(length: 13 + longest) } throws: {
            "\($0)".contains("cannot hold the two images of an edit of 4 patches")
                && "\($0)".contains("use at least \(14 + longest)")
        }
        _ = try source(length: 14 + longest)
    }

    private func documents(_ batch: MicroBatch) -> [[Int32]] {
        batch.layout.tokens.indices.reduce(into: []) { documents, row in
            if batch.layout.positions[row] == 0 { documents.append([]) }
            documents[documents.count - 1].append(batch.layout.tokens[row])
        }
    }
}
