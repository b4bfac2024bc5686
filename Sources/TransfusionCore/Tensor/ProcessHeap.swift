internal import CKernels

/// The memory of everything that is no tensor.
public enum ProcessHeap {
    /// Makes all threads, now and later, take memory from one heap.
    ///
    /// Threads that prepare batches and write checkpoints come and go for as long as a run lasts. With a heap for each of
    /// them, every one of these heaps grows to the largest batch that it has seen and keeps that, and the process still grows
    /// after hundreds of steps.
    public static func shareBetweenThreads() {
        tf_share_heap()
    }
}
