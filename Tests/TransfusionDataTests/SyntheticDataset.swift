import Foundation
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionData

/// A small data set whose every caption and document is known.
struct SyntheticDataset {
    let directory: TemporaryDirectory
    let dataset: PackedDataset
    let captions: [String]
    let texts: [String]

    var path: String { dataset.path }

    /// - Parameters:
    ///   - pairs: Pairs of the split "train"; `heldOut` more lie in "held_out".
    ///   - documents: Text documents of "train".
    init(
        pairs: Int = 37, documents: Int = 60, element: DatasetManifest.PixelType = .u8, size: Int = 8, heldOut: Int = 3,
        tokenizer: Tokenizer? = nil
    ) throws {
        directory = try TemporaryDirectory()
        let tokenizer = try tokenizer ?? Tokenizer(path: TokenizerTests.fixtures + "/small.model")
        captions = (0..<pairs + heldOut).map { index in
            ["red", "large blue", "green", "small dark yellow"][index % 4] + " circle \(index)"
        }
        texts = (0..<documents).map { index in
            "text \(index)" + String(repeating: " the quality of being white", count: index % 7)
        }
        let writer = try DatasetWriter(
            try UnfinishedDirectory(directory.path + "/set"),
            image: .init(channels: 3, height: size, width: size, element: element),
            tokenizer: tokenizer, description: "made by a test")
        writer.beginSplit("train")
        for index in 0..<pairs { try Self.add(index, captions[index], element, size, to: writer) }
        for text in texts { try writer.addDocument(text) }
        writer.beginSplit("held_out")
        for index in pairs..<pairs + heldOut {
            try Self.add(index, captions[index], element, size, to: writer, variantOf: 0)
        }
        _ = try writer.finish()
        dataset = try PackedDataset(directory.path + "/set")
    }

    private static func add(
        _ index: Int, _ caption: String, _ element: DatasetManifest.PixelType, _ size: Int, to writer: DatasetWriter,
        variantOf: Int? = nil
    ) throws {
        let bytes = (0..<3 * size * size).flatMap { place -> [UInt8] in
            let value = Self.value(image: index, place: place)
            switch element {
            case .u8: return [value]
            case .bf16: return withUnsafeBytes(of: UInt16(Float(value).bitPattern >> 16).littleEndian) { Array($0) }
            case .f32: return withUnsafeBytes(of: Float(value).bitPattern.littleEndian) { Array($0) }
            case .u16: return withUnsafeBytes(of: UInt16(value).littleEndian) { Array($0) }
            }
        }
        let image = try writer.add(image: bytes)
        try writer.addPair(key: "key \(index)", caption: caption, image: image, variantOf: variantOf)
    }

    /// The stored element of an image.
    static func value(image: Int, place: Int) -> UInt8 { UInt8((image * 31 + place * 7) % 256) }

    /// A model that fits the data set, in patches of 4 pixels: 4 patches an image of 8.
    var model: ModelConfiguration {
        let tokens = dataset.manifest.tokens
        return ModelConfiguration(
            layers: 1, width: 16, heads: 2, feedForward: 32, vocabulary: tokens.vocabulary, patchSize: 4,
            imageChannels: 3,
            imageHeight: dataset.manifest.image.height, imageWidth: dataset.manifest.image.width,
            beginOfText: tokens.beginOfText, endOfText: tokens.endOfText, beginOfImage: tokens.beginOfImage,
            endOfImage: tokens.endOfImage)
    }
}

extension BatchSource {
    /// The shape of all blocks of a source whose weights never change.
    var shape: BlockShape { phases[0].shape }

    func block(_ number: Int) throws -> PackedBlock { try block(of: number * shape.steps) }
}
