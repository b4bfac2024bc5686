import Foundation
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionData

/// A data set of captions and texts of given lengths, with images of 8 × 8 × 1.
struct LengthsDataset {
    let directory: TemporaryDirectory
    let dataset: PackedDataset

    /// - Parameters:
    ///   - captions: Tokens of each caption.
    ///   - text: Tokens of all documents, 50 each; their ids count up, so that each is told from its neighbours.
    init(captions: [Int], text: Int) throws {
        var index: [UInt8] = []
        var start = 0
        for (pair, length) in captions.enumerated() {
            index += Self.bytes(UInt64(start)) + Self.bytes(UInt64(pair % 3))
            index += Self.bytes(UInt32(length)) + Self.bytes(UInt32.max)
            start += length
        }
        try self.init(
            pairs: captions.count, captionTokens: start, longest: captions.max() ?? 0, text: text,
            index: .init(bytes: index.count, contents: index))
    }

    /// Pairs without captions, and an index of so many whose file takes no room on the disk.
    init(emptyCaptions pairs: Int, text: Int) throws {
        try self.init(
            pairs: pairs, captionTokens: 0, longest: 0, text: text, index: .init(bytes: pairs * 24, contents: []))
    }

    private struct Index {
        let bytes: Int
        let contents: [UInt8]
    }

    private init(pairs: Int, captionTokens: Int, longest: Int, text: Int, index: Index) throws {
        directory = try TemporaryDirectory()
        let source = try SyntheticDataset()
        let documents = text / 50
        func ids(_ count: Int) -> [UInt8] { (0..<count).flatMap { Self.bytes(UInt16(3 + $0 % 200)) } }
        var files: [String: Index] = [:]
        func add(_ name: String, _ bytes: [UInt8]) { files[name] = Index(bytes: bytes.count, contents: bytes) }
        add("captions.tokens", ids(captionTokens))
        add("text.tokens", ids(documents * 50))
        add("documents.index", (0...documents).flatMap { Self.bytes(UInt64($0 * 50)) })
        add("images.bin", [UInt8](repeating: 7, count: 3 * 64))
        add("keys.txt", [])
        add("tokenizer.model", [UInt8](try Data(contentsOf: URL(filePath: source.path + "/tokenizer.model"))))
        files["pairs.index"] = index
        var manifest = source.dataset.manifest
        manifest.image = .init(channels: 1, height: 8, width: 8, element: .u8)
        (manifest.images, manifest.pairs, manifest.documents) = (3, pairs, documents)
        var split = DatasetManifest.Split(name: "train")
        (split.pairs, split.captionTokens, split.longestCaption) = (pairs, captionTokens, longest)
        (split.documents, split.textTokens) = (documents, documents * 50)
        manifest.splits = [split]
        for (name, file) in files {
            let path = directory.path + "/" + name
            try Data(file.contents).write(to: URL(filePath: path))
            guard truncate(path, off_t(file.bytes)) == 0 else { throw POSIXError(.EIO) }
            manifest.files[name] = .init(bytes: file.bytes, sha256: String(repeating: "0", count: 64))
        }
        try Data(try manifest.sealed().bytes).write(to: URL(filePath: directory.path + "/manifest.json"))
        dataset = try PackedDataset(directory.path)
    }

    /// - Parameter patch: Its side: 8 makes one patch of an image, 1 makes 64.
    func source(
        length: Int, rows: Int, patch: Int, _ change: (inout BatchSettings) -> Void = { _ in }
    ) throws -> BatchSource {
        var settings = BatchSettings(sequenceLength: length, globalSequences: rows, seed: 3)
        change(&settings)
        let tokens = dataset.manifest.tokens
        return try BatchSource(
            dataset: dataset, settings: settings,
            model: ModelConfiguration(
                layers: 1, width: 16, heads: 2, feedForward: 32, vocabulary: tokens.vocabulary, patchSize: patch,
                imageChannels: 1, imageHeight: 8, imageWidth: 8, beginOfText: tokens.beginOfText,
                endOfText: tokens.endOfText, beginOfImage: tokens.beginOfImage, endOfImage: tokens.endOfImage))
    }

    private static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }
}
