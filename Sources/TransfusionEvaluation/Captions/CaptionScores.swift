import Foundation

/// How close captions come to those that people wrote: CIDEr-D, BLEU and ROUGE-L, as pycocoevalcap computes them.
///
/// ### References
/// Vedantam et al. 2015 (CIDEr; its variant D), Papineni et al. 2002 (BLEU), Lin 2004 (ROUGE).
public struct CaptionScores: Encodable, Sendable, Equatable {
    /// The mean over images of CIDEr-D, from 0 to 10; papers print it times 100.
    public let cider: Double
    public let bleu: [Double]
    public let rougeL: Double

    /// The captions of an image, as words.
    struct Image: Sendable {
        let candidate: [String]
        /// At least one.
        let references: [[String]]
    }

    /// - Parameter images: At least one.
    init(_ images: [Image]) {
        let counted = NGramCounts(images)
        cider = counted.cider
        bleu = counted.bleu
        rougeL = images.map(Self.rougeL).reduce(0, +) / Double(images.count)
    }

    enum CodingKeys: String, CodingKey {
        case cider, bleu_1, bleu_2, bleu_3, bleu_4
        case rougeL = "rouge_l"
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(cider, forKey: .cider)
        for (key, value) in zip([CodingKeys.bleu_1, .bleu_2, .bleu_3, .bleu_4], bleu) {
            try values.encode(value, forKey: key)
        }
        try values.encode(rougeL, forKey: .rougeL)
    }

    /// F-measure of the longest common subsequence with β = 1.2; precision and recall are each the best over the references.
    static func rougeL(_ image: Image) -> Double {
        // A caption without words counts as one empty word there.
        let candidate = image.candidate.isEmpty ? [""] : image.candidate
        var precision = 0.0, recall = 0.0
        for reference in image.references {
            let reference = reference.isEmpty ? [""] : reference
            let common = Double(longestCommonSubsequence(candidate, reference))
            precision = max(precision, common / Double(candidate.count))
            recall = max(recall, common / Double(reference.count))
        }
        guard precision > 0, recall > 0 else { return 0 }
        let beta = 1.2 * 1.2
        return (1 + beta) * precision * recall / (recall + beta * precision)
    }

    private static func longestCommonSubsequence(_ a: [String], _ b: [String]) -> Int {
        var lengths = [Int](repeating: 0, count: b.count + 1)
        for word in a {
            var diagonal = 0
            for (index, other) in b.enumerated() {
                let above = lengths[index + 1]
                lengths[index + 1] = word == other ? diagonal + 1 : max(above, lengths[index])
                diagonal = above
            }
        }
        return lengths[b.count]
    }
}

/// The n-grams of all captions, counted, for n from 1 to 4.
private struct NGramCounts {
    /// How often each n-gram stands in a caption, for each n.
    private struct Caption {
        var counts: [[Int: Int]]
        /// How many words.
        let length: Int
    }

    private struct Counted {
        let candidate: Caption
        let references: [Caption]
    }

    /// n-grams have numbers: that of the n-gram without its last word, and that word, lead to the next.
    private struct Numbering {
        private struct Key: Hashable {
            let prefix: Int
            let word: String
        }
        private var numbers: [Key: Int] = [:]

        mutating func number(_ prefix: Int, _ word: String) -> Int {
            let key = Key(prefix: prefix, word: word)
            if let number = numbers[key] { return number }
            numbers[key] = numbers.count + 1
            return numbers.count
        }
    }

    private static let orders = 4
    private let images: [Counted]
    /// In the references of how many images an n-gram stands.
    private var documents: [Int: Int] = [:]

    init(_ images: [CaptionScores.Image]) {
        var numbering = Numbering()
        func count(_ words: [String]) -> Caption {
            // Spaces inside a token end a word here.
            let words = words.flatMap { $0.split(whereSeparator: \.isWhitespace).map(String.init) }
            var counts = [[Int: Int]](repeating: [:], count: Self.orders)
            for start in words.indices {
                var number = 0
                for order in 0..<min(Self.orders, words.count - start) {
                    number = numbering.number(number, words[start + order])
                    counts[order][number, default: 0] += 1
                }
            }
            return Caption(counts: counts, length: words.count)
        }
        self.images = images.map { image in
            Counted(candidate: count(image.candidate), references: image.references.map(count))
        }
        for image in self.images {
            for number in Set(image.references.flatMap { $0.counts.flatMap(\.keys) }) {
                documents[number, default: 0] += 1
            }
        }
    }

    // MARK: - CIDEr

    /// A caption's n-grams, each weighted by how seldom it is.
    private struct Weighted {
        let weights: [[Int: Double]]
        let norms: [Double]
        /// Pairs of words.
        let length: Int
    }

    private static let sigma = 6.0

    var cider: Double {
        let logarithm = log(Double(images.count))
        func weighted(_ caption: Caption) -> Weighted {
            let weights = caption.counts.map { counts in
                Dictionary(
                    uniqueKeysWithValues: counts.map { number, count in
                        (number, Double(count) * (logarithm - log(Double(max(1, documents[number] ?? 0)))))
                    })
            }
            return Weighted(
                weights: weights, norms: weights.map { $0.values.reduce(0) { $0 + $1 * $1 }.squareRoot() },
                length: caption.counts[1].values.reduce(0, +))
        }
        let scores = images.map { image -> Double in
            let candidate = weighted(image.candidate)
            let sum = image.references.reduce(0.0) { $0 + Self.similarity(candidate, weighted($1)) }
            return 10 * sum / Double(Self.orders) / Double(image.references.count)
        }
        return scores.reduce(0, +) / Double(scores.count)
    }

    /// The sum over n of the cosines, with counts clipped to those of the reference and a penalty for another length.
    private static func similarity(_ candidate: Weighted, _ reference: Weighted) -> Double {
        let difference = Double(candidate.length - reference.length)
        let penalty = exp(-difference * difference / (2 * sigma * sigma))
        return (0..<orders).reduce(0.0) { sum, order in
            var product = 0.0
            for (number, weight) in candidate.weights[order] {
                let other = reference.weights[order][number] ?? 0
                product += min(weight, other) * other
            }
            let norm = candidate.norms[order] * reference.norms[order]
            return sum + penalty * (norm > 0 ? product / norm : product)
        }
    }

    // MARK: - BLEU

    /// BLEU-1 to BLEU-4 of all captions together; the reference length is the one closest to the candidate's.
    var bleu: [Double] {
        // These keep a count of zero from being divided by.
        let small = 1e-9, tiny = 1e-15
        var guesses = [Int](repeating: 0, count: Self.orders), correct = guesses
        var length = 0, referenceLength = 0
        for image in images {
            length += image.candidate.length
            referenceLength +=
                image.references.map(\.length).min {
                    (abs($0 - image.candidate.length), $0) < (abs($1 - image.candidate.length), $1)
                } ?? 0
            for order in 0..<Self.orders {
                guesses[order] += max(0, image.candidate.length - order)
                for (number, count) in image.candidate.counts[order] {
                    correct[order] += min(count, image.references.map { $0.counts[order][number] ?? 0 }.max() ?? 0)
                }
            }
        }
        let ratio = (Double(length) + tiny) / (Double(referenceLength) + small)
        let penalty = ratio < 1 ? exp(1 - 1 / ratio) : 1
        var product = 1.0
        return (0..<Self.orders).map { order in
            product *= (Double(correct[order]) + tiny) / (Double(guesses[order]) + small)
            return pow(product, 1 / Double(order + 1)) * penalty
        }
    }
}
