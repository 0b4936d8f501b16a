import java.lang.reflect.Field;
import org.apache.spark.sql.catalyst.encoders.HashableWeakReference;
import org.apache.spark.sql.catalyst.expressions.codegen.CodeGenerator$;
import org.apache.spark.sql.connect.service.SparkConnectService;
import org.apache.spark.util.NonFateSharingLoadingCache;
import org.sparkproject.connect.grpc.stub.StreamObserver;
import org.sparkproject.guava.cache.LoadingCache;
import scala.Tuple2;

/**
 * Spark Connect's service, whose requests share the classes that Spark generates for its plans.
 *
 * <p>Spark keeps generated classes by class loader and source, and Spark Connect 3.5 makes a new class
 * loader for each request. So a server compiles everything anew for every statement, and the JVM's own
 * compiler begins anew with each class; that was most of a warm run's processor time. Spark 4 has mended
 * it (SPARK-50243): sessions without classes of their own have no class loader of their own.
 *
 * <p>Here it is the same, for all sessions at once: generated classes are kept by source alone, until a
 * session uploads an artifact. That may hold classes of the user's, which generated code could refer to;
 * from then on it is as Spark has it. The generated code of PySpark's functions refers to Spark's classes
 * only.
 *
 * <p>Compiled when the server starts, by Janino, the compiler that Spark brings along for its own code.
 */
public final class SharingConnectService extends SparkConnectService {
  private final SharedClasses classes;

  public SharingConnectService() throws Exception {
    super(false);
    Field cache = CodeGenerator$.class.getDeclaredField("cache");
    cache.setAccessible(true);
    NonFateSharingLoadingCache kept = (NonFateSharingLoadingCache) cache.get(CodeGenerator$.MODULE$);
    this.classes = new SharedClasses(kept.loadingCache());
    cache.set(CodeGenerator$.MODULE$, this.classes);
  }

  public StreamObserver addArtifacts(StreamObserver answers) {
    this.classes.shared = false;
    return super.addArtifacts(answers);
  }

  static final class SharedClasses extends NonFateSharingLoadingCache {
    private static final ClassLoader SPARKS = SparkConnectService.class.getClassLoader();
    volatile boolean shared = true;

    SharedClasses(LoadingCache cache) {
      super(cache);
    }

    public Object get(Object loaderAndSource) {
      if (!this.shared) {
        return super.get(loaderAndSource);
      }
      Thread thread = Thread.currentThread();
      ClassLoader before = thread.getContextClassLoader();
      // A class that is not there yet is compiled against the thread's class loader.
      thread.setContextClassLoader(SPARKS);
      try {
        Object source = ((Tuple2) loaderAndSource)._2();
        return super.get(new Tuple2(new HashableWeakReference(SPARKS), source));
      } finally {
        thread.setContextClassLoader(before);
      }
    }
  }
}
