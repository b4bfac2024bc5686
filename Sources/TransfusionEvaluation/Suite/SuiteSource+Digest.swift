import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionInference
import TransfusionModels
import TransfusionSupport

extension SuiteSource {
    /// Of all that a part is computed from. Texts, tasks and data sets count by their contents, a checkpoint by its manifest, and other
    /// weights by the names, sizes and times of their files.
    func digest(of part: SuitePart, _ directory: SuiteDirectory) throws -> String {
        let inputs = ["transfusion \(ProductVersion.number)", part.name] + (try self.inputs(of: part))
        return SHA256.hexDigest(inputs.joined(separator: "\n").utf8)
    }

    private func inputs(of part: SuitePart) throws -> [String] {
        let model = [
            Self.weights(archive.path), suite.model.tokenizer.map(Self.weights) ?? "own tokenizer",
            "\(suite.model.precision)", suite.model.rounding?.rawValue ?? "as they are",
        ]
        let images = model + [dataset?.manifest.digest ?? "", suite.split, "\(self.images.count)"]
        let drawn =
            images + [
                suite.model.autoencoder.map(Self.weights) ?? "own autoencoder", "\(suite.settings)", "\(suite.seed)",
            ]
        switch part {
        case .pictures, .composition: return drawn
        case .captions, .cider: return images + ["\(suite.captionTokens)"]
        case .frechet:
            if case .file(let path)? = suite.features {
                return drawn + [Self.weights(path), suite.variant.rawValue]
            }
            return drawn + ["random", suite.variant.rawValue]
        case .clipScore: return drawn + [suite.clip.map(Self.weights) ?? ""]
        case .perplexity(let file):
            return model + [suite.context.map { "\($0)" } ?? "own context", try Self.contents(file)]
        case .ranked(let file): return model + [try Self.contents(file)]
        }
    }

    private static func contents(_ path: String) throws -> String {
        SHA256.hexDigest(try Files.read(path, limit: 1 << 30))
    }

    private static func weights(_ path: String) -> String {
        let manifest = Paths.join(path, "manifest.json")
        if let bytes = try? Files.read(manifest, limit: 1 << 28) { return SHA256.hexDigest(bytes) }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path))?.sorted() ?? []
        let files = names.isEmpty ? [path] : names.map { Paths.join(path, $0) }
        return files.map { "\($0) \(Files.stamp($0))" }.joined(separator: "\n")
    }
}
